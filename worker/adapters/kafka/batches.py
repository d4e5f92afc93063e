"""Reading and building of record batches, in place of the parts of aiokafka that trust them.

Three things go wrong in aiokafka's reader. A header's name is bytes to the brokers, but aiokafka
decodes it as strict UTF-8, so one bad name would end every process that fetches it (A38). A batch
is unpacked in one call, however large it becomes (A39). And any error is raised without the name of
its partition, together with the loss of what the fetch brought for others.

Here a consumer that is marked with a `Turn` reads its batches in shares of a bounded size. The
records of a batch come from aiokafka's compiled parser if they unpack to at most
``UNPACKED_AT_ONCE`` bytes and their header names are UTF-8, which is nearly always. All other
batches are parsed in this module, piece by piece. A batch that cannot be read comes out of a fetch
as `UnreadableBatch`, the last item of its partition.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record._protocols import (
    DefaultRecordProtocol,
    LegacyRecordBatchProtocol,
    LegacyRecordProtocol,
)
from aiokafka.record.default_records import (
    DefaultRecordBatch,
    DefaultRecordBatchBuilder,
    _DefaultRecordBatchBuilderPy,
    _DefaultRecordPy,
)
from aiokafka.record.legacy_records import LegacyRecordBatch
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint
from aiokafka.structs import ConsumerRecord
from aiokafka.structs import TopicPartition as KafkaPartition
from typing_extensions import override

from worker.adapters.kafka.unpack import CODECS, bytes_held, unpacked
from worker.domain.commands import HEADER_NAME_ERRORS
from worker.errors import ConfigError
from worker.ports import Record, size_of

UNPACKED_AT_ONCE: Final = 1_048_576
"""Most bytes of an unpacked batch that are held as a whole."""
RECORD_BYTES_MAX: Final = 1_048_576
"""Bytes kept of a record, as much as a topic usually takes unpacked. See `_cut`."""
TURN_BYTES: Final = 4 * 1_048_576
"""Work of a poll for all partitions, in bytes that are unpacked or delivered. It takes about 50 ms
at worst, with very small records."""
SHARE_BYTES: Final = 524_288
"""Work of a poll for one partition, more or less a record."""
HELD_BYTES_MAX: Final = 2 * 1_048_576
"""Memory of a decompressor that any number of partitions may use at the same time. Only one
partition at a time may use more."""
_LENGTH_AT, _LENGTH_END, _MAGIC_AT = 8, 12, 16
_ATTRIBUTES_AT, _COUNT_AT, _BODY_AT = 22, 57, 61
"""Positions in the header of a batch, in bytes."""
_CODEC_BITS: Final = 0x07
_HEADERS_MAGIC: Final = 2
"""The first format of batches whose records have headers."""
_LOG_APPEND_TIME: Final = 1
"""The type of a stamp in a batch that the broker has made."""
_VARINT_BYTES_MAX: Final = 10
_SAMPLE: Final = b'{"type":"PLACE_ORDER"}' * 20


@dataclass(frozen=True, slots=True)
class UnreadableBatch:
    """A fetched batch that cannot be parsed. ``offset`` is the position, which stays there."""

    offset: int
    error: Exception


class Turn:
    """The work that one consumer may still do in this poll. Marks it as a reader of this module.

    A consumer is marked by giving it its turn as ``key_deserializer``, which is never called.
    """

    def __init__(self) -> None:
        self.left = TURN_BYTES
        self.unfinished = False
        """Whether a partition has more to deliver without another fetch."""
        self._holder: object = None

    def __call__(self, key: bytes) -> bytes:
        return key

    def begin(self) -> None:
        """Begin a poll."""
        self.left, self.unfinished = TURN_BYTES, False

    def hold(self, reader: object) -> bool:
        """Let ``reader`` use a large decompressor, unless another one does."""
        self._holder = self._holder or reader
        return self._holder is reader

    def is_held_by(self, reader: object) -> bool:
        """Return whether ``reader`` uses the large decompressor."""
        return self._holder is reader

    def release(self, reader: object = None) -> None:
        """Let another reader use a large decompressor, if ``reader`` did. None: in any case."""
        if reader is None or self._holder is reader:
            self._holder = None


def records_of(fetched: Iterable[ConsumerRecord[Any, Any]]) -> list[Record]:
    """Return fetched records in the port's words."""
    return [_record_of(record) for record in fetched]


def _record_of(fetched: ConsumerRecord[Any, Any]) -> Record:
    return Record(
        fetched.offset,
        fetched.timestamp,
        fetched.key,
        fetched.value,
        tuple(fetched.headers),
        fetched.timestamp_type == _LOG_APPEND_TIME,
    )


def require_codecs() -> None:
    """Raise ConfigError unless batches of every codec can be read, as producers choose any."""
    failed = [name for name in CODECS if not reads(name)]
    if failed:
        text = f"Kafka's codecs {', '.join(failed)}: records cannot be decompressed here"
        raise ConfigError(f"{text}; run: pip install cramjam zstandard")


def reads(name: str) -> bool:
    """Return whether a batch compressed by the codec ``name`` is read back as it was."""
    try:
        builder = DefaultRecordBatchBuilder(2, CODECS[name], 0, -1, -1, 0, 16_384)
        builder.append(0, 0, None, _SAMPLE, [])
        body = b"".join(unpacked(CODECS[name], bytes(builder.build())[_BODY_AT:]))
    except Exception:  # noqa: BLE001 - each library has its own
        return False
    return _SAMPLE in body


def has_whole_batch(raw: bytes) -> bool:
    """Return whether a fetch brought a batch, or the beginning of one that makes no sense."""
    return len(raw) >= _LENGTH_END and _LENGTH_END + _int32(raw, _LENGTH_AT) <= len(raw)


class AnyNamesBuilder(BatchBuilder):
    """A batch to be sent, in whose headers a name may be any bytes."""

    def __init__(self, batch_size: int, compression_type: int) -> None:
        super().__init__(batch_size, compression_type)  # type: ignore[no-untyped-call]
        self._builder: Any = _DefaultRecordBatchBuilderPy(
            2, compression_type, 0, -1, -1, 0, batch_size
        )

    @override
    def append(
        self,
        *,
        timestamp: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> Any:
        named = [(_Name(name), content) for name, content in headers]
        return super().append(timestamp=timestamp, key=key, value=value, headers=named)

    @override
    def _set_producer_state(self, producer_id: int, producer_epoch: int, first: int) -> None:
        self._builder.set_producer_state(producer_id, producer_epoch, first)


class _Name(str):
    """A header's name, which aiokafka's builder in Python asks for its bytes."""

    __slots__ = ()

    @override
    def encode(self, encoding: str = "utf-8", errors: str = HEADER_NAME_ERRORS) -> bytes:
        return super().encode("utf-8", HEADER_NAME_ERRORS)


class _Fetched:
    """The bytes fetched of a partition: aiokafka's `MemoryRecords`, which also keeps them."""

    __slots__ = ("has_next", "next_batch", "raw", "size_in_bytes")

    def __init__(self, raw: bytes | None) -> None:
        self.raw = raw or b""
        known = MemoryRecords(self.raw)
        self.has_next, self.next_batch = known.has_next, known.next_batch
        self.size_in_bytes = known.size_in_bytes


class _Records(fetcher.PartitionRecords):
    """The records fetched of a partition. For a marked consumer they are read here."""

    def __init__(  # noqa: PLR0913, PLR0917 - aiokafka's
        self,
        partition: KafkaPartition,
        fetched: _Fetched,
        aborted: Sequence[tuple[int, int]] | None,
        position: int,
        key_deserializer: Any,  # noqa: ANN401 - aiokafka's
        value_deserializer: Any,  # noqa: ANN401 - aiokafka's
        check_crcs: bool,
        isolation_level: int,
    ) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            partition,
            fetched,
            aborted,
            position,
            key_deserializer,
            value_deserializer,
            check_crcs,
            isolation_level,
        )
        self.turn = key_deserializer if isinstance(key_deserializer, Turn) else None
        self.is_over = False
        self._work: Iterator[ConsumerRecord[Any, Any] | int] = iter(())
        if self.turn is not None:
            self._key_deserializer = None
            self._work = self._read(fetched.raw, self.turn)

    def take(self, turn: Turn) -> list[ConsumerRecord[Any, Any] | UnreadableBatch]:
        """Return the next records, as many as one poll may have of this partition."""
        found: list[ConsumerRecord[Any, Any] | UnreadableBatch] = []
        share = before = min(turn.left, SHARE_BYTES)
        waits = False
        while share > 0 and not (self.is_over or waits):
            try:
                done = next(self._work, None)
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - each library has its own
                found.append(UnreadableBatch(self.next_fetch_offset, error))
                done = None
            if done is None:
                self.is_over = True
            elif isinstance(done, int):
                share -= done
                waits = not done
            else:
                found.append(done)
                share -= size_of(done.key, done.value, done.headers)
        turn.left -= before - share
        turn.unfinished = turn.unfinished or not (self.is_over or waits)
        return found

    @override
    def __next__(self) -> ConsumerRecord[Any, Any] | UnreadableBatch:
        if self.turn is None:
            return super().__next__()  # type: ignore[no-any-return, no-untyped-call]
        while not self.is_over:
            self.turn.left = 1
            for found in self.take(self.turn):
                return found
        raise StopIteration

    def _read(self, raw: bytes, turn: Turn) -> Iterator[ConsumerRecord[Any, Any] | int]:
        """Yield records, and between them the number of bytes unpacked for them.

        Yields 0 while another partition uses a large decompressor.
        """
        for batch in _batches(raw):
            if batch.next_offset <= self.next_fetch_offset:
                continue
            if self._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {self._tp}")
            if not (self._is_aborted(batch) or batch.is_control_batch):
                for item in _items(batch, turn, self):
                    if isinstance(item, int):
                        yield item
                    elif item.offset >= self.next_fetch_offset:
                        self.next_fetch_offset = item.offset + 1
                        yield self._consumer_record(self._tp, item)  # type: ignore[no-untyped-call]
            # After a compaction the last offset may have no record any more.
            self.next_fetch_offset = batch.next_offset

    def _is_aborted(self, batch: "_Batch | LegacyRecordBatchProtocol") -> bool:
        """Return whether a batch belongs to an aborted transaction, and note where one ends."""
        if self._isolation_level != fetcher.READ_COMMITTED or not isinstance(batch, _Batch):
            return False
        self._consume_aborted_up_to(batch.base_offset)  # type: ignore[no-untyped-call]
        if batch.is_control_batch and self._contains_abort_marker(batch):  # type: ignore[no-untyped-call]
            self._aborted_producers.discard(batch.producer_id)
        return batch.is_transactional and batch.producer_id in self._aborted_producers


class _Result(fetcher.FetchResult):
    """The result of a fetch for one partition. A marked consumer gets it in shares."""

    @override
    def check_assignment(self, tp: KafkaPartition) -> bool:
        """Return whether records may be delivered now. Unlike aiokafka, keep a paused rest.

        Otherwise the rest of a large batch would be fetched and unpacked again after each pause,
        from its first byte on. A large decompressor is not kept.
        """
        records = self._partition_records
        turn = None if records is None else records.turn
        if turn is not None and self._assignment.active and not turn.is_held_by(records):
            state = self._assignment.state_value(self._topic_partition)
            if state.paused and state.position == records.next_fetch_offset:
                return False
        may_deliver = bool(super().check_assignment(tp))  # type: ignore[no-untyped-call]
        if turn is not None and not may_deliver:
            turn.release(records)
        return may_deliver

    @override
    def getall(
        self, max_records: int | None = None
    ) -> list[ConsumerRecord[Any, Any] | UnreadableBatch]:
        records = self._partition_records
        if records is None or records.turn is None:
            return super().getall(max_records)  # type: ignore[no-any-return, no-untyped-call]
        if not self.check_assignment(self._topic_partition):
            return []
        found: list[ConsumerRecord[Any, Any] | UnreadableBatch] = records.take(records.turn)
        self._update_position()  # type: ignore[no-untyped-call]
        if records.is_over:
            self._partition_records = None
        return found


class _Batch:
    """One batch. All but its records is aiokafka's own reading of it."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self._known = raw, DefaultRecordBatch(raw)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - aiokafka's own
        return getattr(self._known, name)

    def __next__(self) -> object:
        """Return the mark of a transaction: aiokafka asks for nothing else in this way."""
        return next(self._known)


_Item = DefaultRecordProtocol | LegacyRecordProtocol | int


def _batches(raw: bytes) -> Iterator["_Batch | LegacyRecordBatchProtocol"]:
    at = 0
    while at + _LENGTH_END <= len(raw):
        length = _int32(raw, at + _LENGTH_AT)
        end = at + _LENGTH_END + length
        # A fetch may end within a batch.
        if end > len(raw):
            return
        if length <= _MAGIC_AT - _LENGTH_END:
            raise CorruptRecordException(f"a batch of {length} bytes")
        magic = raw[at + _MAGIC_AT]
        part = raw[at:end]
        if magic < _HEADERS_MAGIC:
            yield LegacyRecordBatch(part, magic)
        elif len(part) < _BODY_AT:
            raise CorruptRecordException(
                f"a batch of {length} bytes, which is less than its header"
            )
        else:
            yield _Batch(part)
        at = end


def _items(
    batch: "_Batch | LegacyRecordBatchProtocol", turn: Turn, reader: object
) -> Iterator[_Item]:
    """Yield the records of a batch, and the number of bytes that were unpacked."""
    if not isinstance(batch, _Batch):
        # Only older brokers still have these formats, and none accepts them any more.
        yield from batch
        return
    number, body = batch.compression_type, batch.raw[_BODY_AT:]
    if not number:
        yield from _whole(batch.raw, batch)
    elif (content := _at_once(number, body)) is not None:
        yield len(content)
        header = bytearray(batch.raw[:_BODY_AT])
        header[_ATTRIBUTES_AT] &= ~_CODEC_BITS
        yield from _whole(bytes(header) + content, batch)
    else:
        yield UNPACKED_AT_ONCE
        is_large = bytes_held(number, body) > HELD_BYTES_MAX
        while is_large and not turn.hold(reader):
            yield 0
        try:
            yield from _walk(unpacked(number, body), batch)
        finally:
            turn.release(reader)


def _at_once(number: int, body: bytes) -> bytes | None:
    """Return what a batch unpacks to, or None if that is too much or the end is damaged."""
    content = bytearray()
    try:
        for piece in unpacked(number, body):
            content += piece
            if len(content) > UNPACKED_AT_ONCE:
                return None
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - each library has its own, and the records may be whole
        return None
    return bytes(content)


def _whole(raw: bytes, batch: "_Batch") -> Iterator[_Item]:
    """Yield the records of a batch that is not compressed, some of them perhaps twice."""
    try:
        yield from DefaultRecordBatch(raw)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever is wrong, our parser decides
        yield from _walk(iter([raw[_BODY_AT:]]), batch)


def _walk(pieces: Iterator[bytes], batch: "_Batch") -> Iterator[_Item]:
    """Yield the records of a batch, and the size of each piece as it is taken."""
    stream = _Stream(pieces)
    for _ in range(_int32(batch.raw, _COUNT_AT)):
        yield from stream.hold(_VARINT_BYTES_MAX)
        length = stream.varint()
        kept = min(length, RECORD_BYTES_MAX)
        yield from stream.hold(kept)
        part = stream.take(kept)
        yield from stream.skip(length - kept)
        yield _cut(part, batch) if length > kept else _record(part, batch)


class _Stream:
    """The unpacked bytes of a batch, of which a bounded part is held."""

    __slots__ = ("_at", "_damage", "_held", "_pieces")

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._held, self._at = pieces, bytearray(), 0
        self._damage: Exception | None = None

    def hold(self, size: int) -> Iterator[int]:
        """Hold ``size`` bytes, or all that are left. Yields the size of each piece."""
        while len(self._held) - self._at < size and (piece := self._next()) is not None:
            del self._held[: self._at]
            self._at = 0
            self._held += piece
            yield len(piece)

    def varint(self) -> int:
        """Take the length of a record."""
        if self._at == len(self._held):
            raise CorruptRecordException("a batch has too few records") from self._damage
        length, self._at = decode_varint(self._held, self._at)
        if length < 0:
            raise CorruptRecordException(f"a record of {length} bytes")
        return length

    def take(self, size: int) -> bytearray:
        """Take ``size`` bytes, which must be held."""
        part = self._held[self._at : self._at + size]
        self._at += size
        if len(part) < size:
            raise CorruptRecordException("a batch ends within a record") from self._damage
        return part

    def skip(self, size: int) -> Iterator[int]:
        """Pass over ``size`` bytes. Yields the size of each piece."""
        while size:
            here = min(size, len(self._held) - self._at)
            self._at, size = self._at + here, size - here
            if size and not here:
                raise CorruptRecordException("a batch ends within a record") from self._damage
            if size:
                yield from self.hold(1)

    def _next(self) -> bytes | None:
        try:
            return next(self._pieces, None)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - each library has its own
            # The records before the damage may be whole, and only they count.
            self._damage = error
            return None


def _record(body: bytearray, batch: "_Batch") -> _DefaultRecordPy:
    """Return the record in ``body``. Its first byte has no use yet."""
    millis, later, at = _beginning(body)
    key, at = _nullable(body, at)
    value, at = _nullable(body, at)
    count, at = decode_varint(body, at)
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        name, at = _nullable(body, at)
        content, at = _nullable(body, at)
        if name is None:
            raise CorruptRecordException("a header has no name")
        headers.append((name.decode(errors=HEADER_NAME_ERRORS), content))
    if at != len(body):
        raise CorruptRecordException(f"a record of {len(body)} bytes ends at byte {at}")
    return _made(batch, millis, later, key, value, headers)


def _cut(body: bytearray, batch: "_Batch") -> _DefaultRecordPy:
    """Return a record of which only the beginning is held, so that it is no command.

    Its value is what is held of the value. If that is little, because key or headers are enormous,
    it is everything that is held. In both cases the value is longer than any command.
    """
    millis, later, at = _beginning(body)
    length, at = decode_varint(body, at)
    key, at = bytes(body[at : at + length]) if length >= 0 else None, at + max(length, 0)
    value = b""
    if at < len(body) - _VARINT_BYTES_MAX:
        length, at = decode_varint(body, at)
        value = bytes(body[at : at + max(length, 0)])
    if len(value) < len(body) // 2:
        value = bytes(body)
    return _made(batch, millis, later, key, value, [])


def _made(
    batch: "_Batch",
    millis: int,
    later: int,
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, bytes | None]],
) -> _DefaultRecordPy:
    stamped = batch.timestamp_type
    time_ms = batch.max_timestamp if stamped else batch.first_timestamp + millis
    return _DefaultRecordPy(batch.base_offset + later, time_ms, stamped, key, value, headers)


def _beginning(body: bytearray) -> tuple[int, int, int]:
    """Return a record's time and offset, both relative to its batch, and where its key begins."""
    millis, at = decode_varint(body, 1)
    later, at = decode_varint(body, at)
    return millis, later, at


def _nullable(body: bytearray, at: int) -> tuple[bytes | None, int]:
    length, at = decode_varint(body, at)
    if length < 0:
        return None, at
    end = at + length
    if end > len(body):
        raise CorruptRecordException(f"a field of {length} bytes at byte {at} of {len(body)}")
    return bytes(body[at:end]), end


def _int32(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 4], signed=True)


# aiokafka's consumers make these by name. Those without a `Turn` notice nothing.
fetcher.MemoryRecords = _Fetched  # type: ignore[attr-defined]
fetcher.PartitionRecords = _Records  # type: ignore[misc]
fetcher.FetchResult = _Result  # type: ignore[misc]
