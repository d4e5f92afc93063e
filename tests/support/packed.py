"""Batches of other clients, compressed to the utmost, and damage to what a broker has stored."""

import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import cramjam
import zstandard
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.util import calc_crc32c, encode_varint
from typing_extensions import override

from worker.adapters.kafka.unpack import CODECS
from worker.embedded import EmbeddedKafka
from worker.ports import TopicPartition

HEADER_BYTES: Final = 61
LENGTH_AT: Final = 8
SNAPPY_BLOCK: Final = 1_048_576


class PackedBatch(BatchBuilder):
    """A batch of ``count`` records, whose ``body`` is already compressed."""

    def __init__(self, codec: str, body: bytes, count: int) -> None:
        super().__init__(1, 0)  # type: ignore[no-untyped-call]
        maker = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, 0, 1_000)
        maker.append(0, 0, None, b"", [])
        raw = bytearray(maker.build()[:HEADER_BYTES]) + body
        raw[LENGTH_AT : LENGTH_AT + 4] = (len(raw) - 12).to_bytes(4)
        raw[22] |= CODECS.get(codec, 0)
        raw[23:27] = (count - 1).to_bytes(4)
        raw[57:61] = count.to_bytes(4)
        raw[17:21] = calc_crc32c(bytes(raw[21:])).to_bytes(4)
        self._raw, self._closed, self._relative_offset = bytes(raw), True, count

    @override
    def _build(self) -> bytes:
        return self._raw

    @override
    def size(self) -> int:
        return len(self._raw)


def packed(codec: str, records: Iterable[Iterable[bytes]]) -> PackedBatch:
    """Return a batch of records, each given in pieces. It is never held unpacked."""
    count = 0

    def pieces() -> Iterator[bytes]:
        nonlocal count
        for record in records:
            yield from record
            count += 1

    body = _COMPRESS[codec](pieces())
    return PackedBatch(codec, body, count)


def record(number: int, key: bytes | None, value: bytes | None, zeros: int = 0) -> Iterator[bytes]:
    """Yield a record of a batch in pieces. ``zeros`` follow its value."""
    size = -1 if value is None else len(value) + zeros
    beginning = b"\0\0" + _varint(number) + _bytes(key) + _varint(size) + (value or b"")
    yield _varint(len(beginning) + zeros + 1) + beginning
    while zeros:
        here = min(zeros, 1_048_576)
        yield bytes(here)
        zeros -= here
    yield b"\0"


def _bytes(content: bytes | None) -> bytes:
    return _varint(-1) if content is None else _varint(len(content)) + content


def _varint(number: int) -> bytes:
    found = bytearray()
    encode_varint(number, found.append)
    return bytes(found)


def _gzip(pieces: Iterable[bytes]) -> bytes:
    deflate = zlib.compressobj(9, wbits=31)
    return b"".join([*map(deflate.compress, pieces), deflate.flush()])


def _zstd(pieces: Iterable[bytes]) -> bytes:
    # The window that Java's library has.
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=21)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return b"".join([*map(stream.compress, pieces), stream.flush()])


def _lz4(pieces: Iterable[bytes]) -> bytes:
    stream = cramjam.lz4.Compressor(level=9, content_checksum=False, block_linked=False)
    for piece in pieces:
        stream.compress(piece)
    return bytes(stream.finish())


def _snappy(pieces: Iterable[bytes]) -> bytes:
    found = bytearray(b"\x82SNAPPY\0\0\0\0\1\0\0\0\1")
    for piece in pieces:
        block = bytes(cramjam.snappy.compress_raw(piece))
        found += len(block).to_bytes(4) + block
    return bytes(found)


_COMPRESS: Final[dict[str, Callable[[Iterable[bytes]], bytes]]] = {
    "none": b"".join,
    "gzip": _gzip,
    "snappy": _snappy,
    "lz4": _lz4,
    "zstd": _zstd,
}


@contextmanager
def damaged(
    kafka: EmbeddedKafka, partition: TopicPartition, offset: int, at: int, content: bytes
) -> Iterator[None]:
    """Overwrite bytes of the stored batch that begins at ``offset``, and restore them."""
    segment = kafka.data() / f"{partition.topic}-{partition.partition}" / f"{0:020}.log"
    place = _place(segment, offset) + at
    kept = _overwrite(segment, place, content)
    try:
        yield
    finally:
        _overwrite(segment, place, kept)


def _place(segment: Path, offset: int) -> int:
    raw, place = segment.read_bytes(), 0
    while int.from_bytes(raw[place : place + LENGTH_AT]) != offset:
        place += 12 + int.from_bytes(raw[place + LENGTH_AT : place + 12])
    return place


def _overwrite(segment: Path, place: int, content: bytes) -> bytes:
    with segment.open("r+b") as file:
        file.seek(place)
        kept = file.read(len(content))
        file.seek(place)
        file.write(content)
    return kept
