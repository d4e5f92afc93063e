"""An attack, and the means of all attacks."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from aiokafka.producer.message_accumulator import BatchBuilder

from producers import Publishable
from tests.hostile.scene import Scene
from tests.support.books import deposit, open_market
from tests.support.system import Sent, System
from worker.domain.units import MarketId
from worker.embedded import EmbeddedKafka
from worker.ports import TopicPartition

RICH: Final = 10**9
BURSTS_MAX: Final = 10_000


class Victim(Protocol):
    """An exchange of which one partition of orders is attacked."""

    @property
    def kafka(self) -> EmbeddedKafka:
        """Return the cluster."""

    @property
    def system(self) -> System:
        """Return the exchange."""

    @property
    def lane(self) -> TopicPartition:
        """Return the attacked partition."""


Prepare = Callable[[Scene], Awaitable[None]]
Burst = Callable[[Scene, int], Awaitable[int]]
"""Sends the burst of a number, and returns how many records or requests it had."""


async def _nothing(_scene: Scene) -> None:
    """Prepare nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of attack."""

    does: str
    burst: Burst
    prepare: Prepare = _nothing
    every_s: float = 1.0
    bursts_max: int = BURSTS_MAX
    is_cold: bool = False
    """Whether new workers take over after the preparation, with empty caches."""
    halts: bool = False
    """Whether the attacked lane may stop, because its records cannot be read."""


def target(victim: Victim) -> MarketId:
    """Return the attacked market."""
    return victim.system.market(victim.lane.partition, "target")


async def open_target(scene: Scene) -> None:
    """Open the attacked market and fund its whale."""
    await publish(scene, [deposit("whale", RICH)])
    await scene.prepared()
    await publish(scene, [open_market(target(scene))])


async def publish(scene: Scene, commands: Sequence[Publishable]) -> int:
    """Publish commands, and return their number."""
    await scene.system.publish(*commands)
    return len(commands)


async def send(victim: Victim, records: Sequence[Sent]) -> int:
    """Send records to the topic of orders unchanged, and return their number."""
    await victim.system.send(victim.lane.topic, records)
    return len(records)


async def send_batch(victim: Victim, batch: BatchBuilder) -> None:
    """Send a batch to the attacked partition."""
    topic, partition = victim.lane
    await (await victim.system.raw.send_batch(batch, topic, partition=partition))
