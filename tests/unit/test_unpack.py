"""Decompression in pieces, as leniently as the brokers read, with bounded memory."""

import tracemalloc
from collections.abc import Iterator
from typing import Final

import cramjam
import pytest
import zstandard
from aiokafka import codec

from worker.adapters.kafka.unpack import CODECS, PIECE_BYTES, UnpackError, bytes_held, unpacked

TEXT: Final = b"".join(b"record %d, " % n for n in range(60_000))
MIB: Final = 1_048_576
BOMB: Final = bytes(64 * MIB)


def lz4_frame(content: bytes, *, checksums: bool = False) -> bytes:
    """Return a frame whose content checksum is wrong, if it has one, as brokers accept it."""
    frame = bytearray(codec.lz4_encode(content))
    return bytes(frame) + bytes(4) if checksums else bytes(frame)


ENCODE: Final = {
    "gzip": lambda content: codec.gzip_encode(content, 1),
    "snappy": codec.snappy_encode,
    "lz4": codec.lz4_encode,
    "zstd": codec.zstd_encode,
}


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("content", [b"", b"x", TEXT], ids=["empty", "one", "long"])
def test_content_is_unpacked_in_order(name: str, content: bytes) -> None:
    assert b"".join(unpacked(CODECS[name], ENCODE[name](content))) == content


@pytest.mark.parametrize("name", CODECS)
def test_bomb_is_unpacked_in_small_pieces(name: str) -> None:
    packed = ENCODE[name](BOMB)
    tracemalloc.start()
    largest = sum_ = 0
    for piece in unpacked(CODECS[name], packed):
        largest, sum_ = max(largest, len(piece)), sum_ + len(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (sum_, largest <= 4 * PIECE_BYTES) == (len(BOMB), True)
    assert peak < 4 * MIB + len(packed)


@pytest.mark.parametrize("name", ["gzip", "lz4"])
def test_garbage_after_content_is_reported_last(name: str) -> None:
    """Brokers accept such batches, since they read no further than the last record."""
    pieces = unpacked(CODECS[name], ENCODE[name](TEXT) + b"garbage" * 9)
    assert _until_error(pieces) == TEXT


def test_wrong_checksum_of_zstd_comes_after_content() -> None:
    packed = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(TEXT))
    packed[-1] ^= 1
    assert TEXT.startswith(_until_error(unpacked(CODECS["zstd"], bytes(packed)))[: 4 * PIECE_BYTES])


def _until_error(pieces: Iterator[bytes]) -> bytes:
    found = b""
    try:
        for piece in pieces:
            found += piece
    except Exception:  # noqa: BLE001, S110 - each library has its own
        pass
    return found


def test_several_members_of_gzip_are_one_content() -> None:
    packed = codec.gzip_encode(b"one,") + codec.gzip_encode(b"two")
    assert b"".join(unpacked(CODECS["gzip"], packed)) == b"one,two"


def test_snappy_of_other_libraries_is_one_block() -> None:
    packed = bytes(cramjam.snappy.compress_raw(TEXT))
    assert b"".join(unpacked(CODECS["snappy"], packed)) == TEXT
    assert bytes_held(CODECS["snappy"], packed) == len(TEXT)


def test_joined_snappy_streams_are_one_content() -> None:
    packed = codec.snappy_encode(b"one,") + codec.snappy_encode(b"two")
    assert b"".join(unpacked(CODECS["snappy"], packed)) == b"one,two"


@pytest.mark.parametrize(
    ("name", "packed", "rule"),
    [
        # Four bytes that claim 4 GiB.
        ("snappy", b"\xff\xff\xff\xff\x0f\x00", "claim to unpack to 4294967295"),
        ("snappy", codec.snappy_encode(TEXT)[:-9], "a block ends at byte"),
        ("lz4", codec.lz4_encode(TEXT)[:-9_000], "a block ends at byte"),
        ("lz4", b"no frame at all", "does not begin with a frame"),
        ("lz4", b"\x04\x22\x4d\x18\x60\x00\x00\x00\x00", "block size 0 is unknown"),
    ],
)
def test_impossible_content_is_refused(name: str, packed: bytes, rule: str) -> None:
    with pytest.raises(UnpackError, match=rule):
        list(unpacked(CODECS[name], packed))


def test_unknown_codec_is_refused() -> None:
    with pytest.raises(UnpackError, match="codec 5 is unknown"):
        unpacked(5, b"")


def test_memory_of_decompressor_is_known_beforehand() -> None:
    wide = zstandard.ZstdCompressionParameters(window_log=26)
    stream = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    packed = stream.compress(TEXT) + stream.flush()
    assert bytes_held(CODECS["zstd"], packed) == 64 * MIB
    assert bytes_held(CODECS["lz4"], codec.lz4_encode(TEXT)) <= 4 * MIB
    assert bytes_held(CODECS["gzip"], codec.gzip_encode(TEXT)) == PIECE_BYTES


def test_window_beyond_that_of_brokers_is_refused() -> None:
    wide = zstandard.ZstdCompressionParameters(window_log=28)
    stream = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    packed = stream.compress(TEXT) + stream.flush()
    with pytest.raises(zstandard.ZstdError):
        list(unpacked(CODECS["zstd"], packed))
