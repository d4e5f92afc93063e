"""Decompression of a batch in pieces, whose size does not depend on what the batch unpacks to.

A megabyte of zstd may unpack to 32 GiB. aiokafka, like most libraries, unpacks a batch in one call
into one value. Here a reader takes a piece, and stops when it has enough.

A stream is read as leniently as the brokers read it, since they store what they can read. They
ignore what follows the last record, and a wrong checksum there. So an error is raised only in place
of a piece, after all pieces before it.
"""

import gzip
import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

# A missing library is reported by `batches.require_codecs`, with what to do.
try:
    import cramjam
except ImportError:
    cramjam = None  # type: ignore[assignment]
try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]

PIECE_BYTES: Final = 65_536
"""Size of most pieces. A block of snappy or lz4 is one piece, and may be larger."""
CODECS: Final = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
"""The compressions of Kafka and their numbers in a batch."""

_SNAPPY_RATIO_MAX: Final = 22
"""The densest element of snappy, a copy of 64 bytes, takes three bytes."""
_XERIAL_MAGIC, _XERIAL_HEADER = b"\x82SNAPPY\x00", 16
_LZ4_MAGIC: Final = b"\x04\x22\x4d\x18"
_LZ4_BLOCKS: Final = {4: 65_536, 5: 262_144, 6: 1_048_576, 7: 4_194_304}
_LZ4_RAW: Final = 0x8000_0000
"""Bit in the size of a block that is stored as it is."""
_ZSTD_WINDOW_MAX: Final = 1 << 27
"""The most that zstd itself allows without being asked for more, as in the brokers."""


class UnpackError(ValueError):
    """The bytes of a batch are not what its codec writes."""


def unpacked(number: int, packed: bytes) -> Iterator[bytes]:
    """Yield the content of a batch compressed by codec ``number``, piece by piece."""
    unpack = _UNPACK.get(number)
    if unpack is None:
        raise UnpackError(f"codec {number} is unknown: Kafka has 0 to {len(CODECS)}")
    return unpack(packed)


def bytes_held(number: int, packed: bytes) -> int:
    """Return how much memory `unpacked` needs at a time, according to the compressed bytes."""
    if number == CODECS["snappy"]:
        return _snappy_block_max(packed)
    if number == CODECS["lz4"]:
        return _lz4_block_max(packed)
    if number == CODECS["zstd"]:
        return int(zstandard.get_frame_parameters(packed).window_size)
    return PIECE_BYTES


def _stored(packed: bytes) -> Iterator[bytes]:
    yield packed


def _gzip(packed: bytes) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        # `read` would lose what it has when the next member is damaged.
        while piece := file.read1(PIECE_BYTES):
            yield piece


def _zstd(packed: bytes) -> Iterator[bytes]:
    stream = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX).stream_reader(
        packed, read_across_frames=True
    )
    while piece := stream.read1(PIECE_BYTES):
        yield piece


def _snappy(packed: bytes) -> Iterator[bytes]:
    for block in _snappy_blocks(packed):
        # Allocated here, since cramjam ends the process when it gets no memory.
        piece = bytearray(_snappy_length(block))
        cramjam.snappy.decompress_raw_into(block, piece)
        yield bytes(piece)


def _snappy_blocks(packed: bytes) -> Iterator[bytes]:
    """Yield the blocks of the format of Java's library, or the one block of all others."""
    if not packed.startswith(_XERIAL_MAGIC):
        yield packed
        return
    at = _XERIAL_HEADER
    while at + 4 <= len(packed):
        # Two streams may follow each other.
        if packed.startswith(_XERIAL_MAGIC, at):
            at += _XERIAL_HEADER
            continue
        end = at + 4 + int.from_bytes(packed[at : at + 4])
        if end > len(packed):
            raise UnpackError(f"snappy: a block ends at byte {end} of {len(packed)}")
        yield packed[at + 4 : end]
        at = end


def _snappy_block_max(packed: bytes) -> int:
    most = 0
    # The blocks before the damage may be enough.
    with suppress(UnpackError, cramjam.DecompressionError):
        for block in _snappy_blocks(packed):
            most = max(most, _snappy_length(block))
    return most


def _snappy_length(block: bytes) -> int:
    length = int(cramjam.snappy.decompress_raw_len(block))
    if length > len(block) * _SNAPPY_RATIO_MAX:
        raise UnpackError(f"snappy: {len(block)} bytes claim to unpack to {length}")
    return length


def _lz4(packed: bytes) -> Iterator[bytes]:
    """Walk through the blocks of a frame. They are independent of each other in Kafka."""
    most, flags = _lz4_block_max(packed), packed[4]
    has_block_checksum, has_length = flags & 0x10, flags & 0x08
    at = 7 + (8 if has_length else 0)
    while size := int.from_bytes(packed[at : at + 4], "little"):
        is_raw, size = size & _LZ4_RAW, size & ~_LZ4_RAW
        end = at + 4 + size
        if end > len(packed):
            raise UnpackError(f"lz4: a block ends at byte {end} of {len(packed)}")
        block = packed[at + 4 : end]
        if is_raw:
            yield block
        else:
            piece = bytearray(most)
            yield bytes(piece[: cramjam.lz4.decompress_block_into(block, piece)])
        at = end + (4 if has_block_checksum else 0)


def _lz4_block_max(packed: bytes) -> int:
    if not packed.startswith(_LZ4_MAGIC) or len(packed) <= _LZ4_HEADER_MIN:
        raise UnpackError("lz4: the batch does not begin with a frame")
    most = _LZ4_BLOCKS.get(packed[5] >> 4 & 7)
    if most is None:
        raise UnpackError(f"lz4: block size {packed[5] >> 4 & 7} is unknown")
    return most


_LZ4_HEADER_MIN: Final = 7
_UNPACK: Final[dict[int, Callable[[bytes], Iterator[bytes]]]] = {
    0: _stored,
    1: _gzip,
    2: _snappy,
    3: _lz4,
    4: _zstd,
}
