"""Errors of a fetch, sorted by partition, and how long each may last."""

from typing import Any, Final

import pytest
from aiokafka import errors
from aiokafka.protocol.fetch import FetchRequest

from tests.unit.test_kafka_batches import good
from worker.adapters.kafka.faults import (
    OPEN_TRANSACTION_S,
    PAUSE_MAX_S,
    REPORTED_AFTER_S,
    FetchFaults,
    Kind,
)
from worker.errors import BatchUnreadable, FetchRefused
from worker.ports import TopicPartition

SICK, WELL = TopicPartition("orders", 0), TopicPartition("orders", 1)
REFUSED_S: Final = 30.0


class Response:
    """A broker's answer to a fetch of both partitions, with one error."""

    API_VERSION = 11

    def __init__(self, code: int, records: bytes = b"", held: int = 0) -> None:
        sick = (0, code, 9, 9 - held, 0, None, -1, records)
        self.topics: Any = [("orders", [sick, (1, 0, 9, 9, 0, None, -1, good(0))])]


class Client:
    """The part of aiokafka's client that is watched."""

    def __init__(self) -> None:
        self.response: Any = None

    async def send(self, node_id: int, request: object, *, group: int = 0) -> Any:  # noqa: ANN401
        assert (node_id, group, type(request)) == (7, 1, FetchRequest)
        return self.response


class World:
    def __init__(self) -> None:
        self.now_s = 100.0
        self.faults = FetchFaults(lambda: self.now_s, REFUSED_S)
        self.client, self.held_back = Client(), [SICK][:0]
        self.faults.watch(self.client, self.held_back.append)

    async def fetch(self, code: int, records: bytes = b"", held: int = 0) -> list[int]:
        """Return the partitions of the answer that reach aiokafka."""
        self.client.response = Response(code, records, held)
        request = FetchRequest(50, 1, 1, 1, [])
        response = await self.client.send(7, request, group=1)
        return [number for number, *_ in response.topics[0][1]]


MOVING: Final = (3, 5, 6, 9, 56, 74, 75, 78, 100, 103)
REFUSING: Final = (-1, 2, 4, 7, 10, 29, 35, 42, 43, 76, 87, 999)
"""Unknown, corrupt, authorization, unsupported, and codes that no client knows."""


@pytest.mark.parametrize("code", [*MOVING, *REFUSING])
async def test_error_of_partition_leaves_others_alone(code: int) -> None:
    world = World()
    # aiokafka looks for the new leader.
    assert await world.fetch(code) == ([0, 1] if code in {3, 6} else [1])
    assert world.held_back == [SICK]
    assert world.faults.waits(SICK)
    assert not world.faults.waits(WELL)
    world.now_s += REPORTED_AFTER_S
    await world.fetch(code)
    (text,) = world.faults.reasons().values()
    assert "the brokers return no records of orders/0" in text
    assert f"code {code}" in text


@pytest.mark.parametrize("code", [*MOVING, *REFUSING])
async def test_only_lasting_refusal_is_hopeless(code: int) -> None:
    world = World()
    for _ in range(4):
        await world.fetch(code)
        assert world.faults.hopeless() is None
        world.now_s += REFUSED_S / 4 + 0.1
    error = world.faults.hopeless()
    assert (error is None) == (code in MOVING)
    if error is not None:
        assert isinstance(error, FetchRefused)
        assert error.args[1] == SICK
        assert world.faults.hopeless() is None


async def test_offset_out_of_range_reaches_aiokafka() -> None:
    world = World()
    assert await world.fetch(errors.OffsetOutOfRangeError.errno) == [0, 1]
    assert not world.held_back


async def test_pauses_grow_and_end() -> None:
    world, pauses = World(), []
    for _ in range(12):
        await world.fetch(2)
        began_s = world.now_s
        while SICK not in world.faults.due():
            world.now_s += 0.05
        pauses.append(round(world.now_s - began_s, 1))
    assert pauses == sorted(pauses)
    assert pauses[0] <= 0.2
    assert PAUSE_MAX_S <= pauses[-1] < PAUSE_MAX_S + 0.3


async def test_records_end_a_refusal() -> None:
    world = World()
    await world.fetch(2)
    await world.fetch(0, good(0))
    assert not world.faults.waits(SICK)
    world.now_s += REFUSED_S
    assert world.faults.hopeless() is None


async def test_short_move_of_leader_is_not_reported() -> None:
    world = World()
    await world.fetch(6)
    assert world.faults.reasons() == {}


@pytest.mark.parametrize("size", [1, 11, 30, 100])
async def test_fetch_without_whole_batch_is_a_refusal(size: int) -> None:
    """aiokafka would pass over a record."""
    world = World()
    assert await world.fetch(0, good(0)[:size]) == [1]
    world.now_s += REPORTED_AFTER_S
    (text,) = world.faults.reasons().values()
    assert f"{size} bytes ends within its first batch" in text


def test_unreadable_batch_is_hopeless_after_three_reads() -> None:
    world = World()
    for _ in range(3):
        assert world.faults.hopeless() is None
        world.faults.failed(SICK, Kind.UNREADABLE, ValueError("torn"), 5)
    error = world.faults.hopeless()
    assert isinstance(error, BatchUnreadable)
    assert str(error.args[0]) == "the batch at offset 5 of orders/0: ValueError('torn')"


async def test_delivery_does_not_end_unreadable_batch() -> None:
    """The batch must be parsed, and arrives with every fetch."""
    world = World()
    for _ in range(3):
        await world.fetch(0, good(0))
        world.faults.failed(SICK, Kind.UNREADABLE, ValueError("torn"), 5)
    assert isinstance(world.faults.hopeless(), BatchUnreadable)


def test_unreadable_batches_are_counted_one_by_one() -> None:
    world = World()
    for offset in (5, 5, 6, 6):
        world.faults.failed(SICK, Kind.UNREADABLE, ValueError("torn"), offset)
    assert world.faults.hopeless() is None


async def test_open_transaction_is_reported_while_it_lasts() -> None:
    world = World()
    await world.fetch(0, held=4)
    assert world.faults.reasons() == {}
    world.now_s += OPEN_TRANSACTION_S
    await world.fetch(0, held=5)
    assert world.faults.reasons()[SICK] == (
        "an open transaction of another client has held back 5 offsets of orders/0 for 60 s"
    )
    assert world.faults.hopeless() is None
    assert not world.held_back
    await world.fetch(0)
    assert world.faults.reasons() == {}


async def test_open_transaction_of_unfetched_partition_is_unknown() -> None:
    world = World()
    await world.fetch(0, held=4)
    world.now_s += OPEN_TRANSACTION_S
    assert world.faults.reasons() == {}
