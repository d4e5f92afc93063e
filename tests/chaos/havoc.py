"""The faults: each kind of ``mix`` is a method here, which also repairs the damage."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from signal import SIGCONT, SIGSTOP, SIGUSR1
from typing import Final

from aiokafka.errors import KafkaError

from tests.chaos.mix import KINDS, Move, Sort
from tests.chaos.stage import BROKERS, WORKERS, Stage
from tests.chaos.worker import BLOCKED_S
from tests.hostile import records
from tests.hostile.attack import Victim
from tests.support.pgproxy import Fault
from tests.support.system import System
from tests.support.topics import administrator, configure
from worker import topic_rules
from worker.embedded import EmbeddedKafka
from worker.ports import TopicPartition

SPRING_S: Final = 20.0
"""How long a trap waits for a batch."""
SLOW_S: Final = 0.15
ATTACK_S: Final = 40.0
"""Time for an attack or a change of settings, while brokers may be away."""
SETTINGS_TRIES: Final = 30
"""Attempts to set a topic right again, a second apart."""
SMALL_BATCH_BYTES: Final = "512"


@dataclass(frozen=True, slots=True)
class Attacked:
    """A partition of orders, for the attacks of `tests.hostile`."""

    kafka: EmbeddedKafka
    system: System
    lane: TopicPartition


class Havoc:
    """Plays moves, and counts the moves that hit."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._clock = asyncio.get_running_loop().time
        self._began_s = self._clock()
        self._faults: dict[str, Callable[[Move], Awaitable[bool]]] = {
            "worker killed": self._kill_worker,
            "worker asked to stop": self._replace_worker,
            "worker stopped past its session": self._stop_worker,
            "worker's event loop blocked": self._block_worker,
            "worker joins and leaves": self._join_and_leave,
            "statement cut before it arrives": self._trap(Fault.BEFORE),
            "statement cut in the middle": self._trap(Fault.MIDDLE),
            "connection cut after a commit": self._trap(Fault.AFTER),
            "statement arrives late": self._trap(Fault.LIMBO),
            "reply to a commit lost": self._trap(Fault.SWALLOW),
            "statement delayed": self._trap(Fault.HOLD),
            "database ends its sessions": self._goodbye,
            "database unreachable": self._cut_database,
            "database slow": self._slow_database,
            "database killed": self._kill_database,
            "broker killed": self._kill_broker,
            "broker stopped": self._stop_broker,
            "broker restarted": self._restart_broker,
            "broker unreachable": self._cut_broker,
            "all brokers unreachable": self._cut_brokers,
            "broker silent": self._silence_broker,
            "all brokers silent": self._silence_brokers,
            "header names are not UTF-8": self._attack(records.send_odd_names),
            "batches of every codec": self._attack(records.send_every_codec),
            "large values": self._attack(records.send_wide_values),
            "mistakes of clients": self._attack(records.send_corpus),
            "compression bomb": self._attack(records.send_bomb),
            "transactions aborted": self._attack(records.abort_transactions),
            "transaction left open": self._attack(records.leave_transaction_open),
            "orders stamped by senders": self._let_senders_stamp,
            "batches of events refused": self._refuse_events,
        }
        assert self._faults.keys() == KINDS.keys()
        self.done: Counter[str] = Counter()
        self._numbers = count()

    def count(self, sort: Sort) -> int:
        """Return the number of faults of a sort so far."""
        return sum(n for name, n in self.done.items() if KINDS[name].sort is sort)

    async def play(self, moves: Sequence[Move]) -> None:
        """Make the moves one after the other, each at its time."""
        for move in moves:
            await asyncio.sleep(max(0.0, self._began_s + move.at_s - self._clock()))
            hit = await self._faults[move.name](move)
            self.done[move.name] += hit

    # Workers.

    async def _kill_worker(self, move: Move) -> bool:
        await asyncio.to_thread(self._stage.kill, move.target % WORKERS)
        return True

    async def _replace_worker(self, move: Move) -> bool:
        slot = move.target % WORKERS
        old, self._stage.slots[slot] = self._stage.slots[slot], self._stage.start_worker()
        await self._stage.ask_to_stop(old)
        return True

    async def _stop_worker(self, move: Move) -> bool:
        worker = self._stage.slots[move.target % WORKERS]
        worker.send(SIGSTOP)
        try:
            await asyncio.sleep(move.seconds)
        finally:
            worker.send(SIGCONT)
        return True

    async def _block_worker(self, move: Move) -> bool:
        worker = self._stage.slots[move.target % WORKERS]
        if not self._stage.has_begun(worker):
            return False
        worker.send(SIGUSR1)
        await asyncio.sleep(BLOCKED_S)
        return True

    async def _join_and_leave(self, move: Move) -> bool:
        guest = self._stage.start_worker()
        await asyncio.sleep(move.seconds)
        await self._stage.ask_to_stop(guest)
        return True

    # The database.

    def _trap(self, fault: Fault) -> Callable[[Move], Awaitable[bool]]:
        async def spring(move: Move) -> bool:
            sprung = asyncio.Event()
            trap = self._stage.proxy.trap(fault, then=sprung.set)
            try:
                async with asyncio.timeout(SPRING_S):
                    await sprung.wait()
                await asyncio.sleep(move.seconds)
            except TimeoutError:
                return False
            finally:
                self._stage.proxy.traps.remove(trap)
                trap.release()
            return True

        return spring

    async def _goodbye(self, _: Move) -> bool:
        self._stage.proxy.say_goodbye()
        return True

    async def _cut_database(self, move: Move) -> bool:
        await self._stage.proxy.down()
        await asyncio.sleep(move.seconds)
        await self._stage.proxy.up()
        return True

    async def _slow_database(self, move: Move) -> bool:
        self._stage.proxy.latency_s = SLOW_S
        await asyncio.sleep(move.seconds)
        self._stage.proxy.latency_s = 0.0
        return True

    async def _kill_database(self, move: Move) -> bool:
        await asyncio.to_thread(self._stage.postgres.kill)
        await asyncio.sleep(move.seconds)
        await asyncio.to_thread(self._stage.postgres.restart)
        return True

    # The brokers.

    async def _kill_broker(self, move: Move) -> bool:
        broker = move.target % BROKERS
        await asyncio.to_thread(self._stage.kafka.kill, broker)
        await asyncio.sleep(move.seconds)
        await asyncio.to_thread(self._stage.kafka.restart, broker)
        return True

    async def _stop_broker(self, move: Move) -> bool:
        broker = move.target % BROKERS
        self._stage.kafka.pause(broker)
        try:
            await asyncio.sleep(move.seconds)
        finally:
            self._stage.kafka.resume(broker)
        return True

    async def _restart_broker(self, move: Move) -> bool:
        await asyncio.to_thread(self._stage.kafka.restart, move.target % BROKERS)
        return True

    async def _cut_broker(self, move: Move) -> bool:
        gate = self._stage.gates[move.target % BROKERS]
        await gate.down()
        await asyncio.sleep(move.seconds)
        await gate.up()
        return True

    async def _cut_brokers(self, move: Move) -> bool:
        for gate in self._stage.gates:
            await gate.down()
        await asyncio.sleep(move.seconds)
        for gate in self._stage.gates:
            await gate.up()
        return True

    async def _silence_broker(self, move: Move) -> bool:
        gate = self._stage.gates[move.target % BROKERS]
        gate.silence()
        await asyncio.sleep(move.seconds)
        await gate.up()
        return True

    async def _silence_brokers(self, move: Move) -> bool:
        for gate in self._stage.gates:
            gate.silence()
        await asyncio.sleep(move.seconds)
        for gate in self._stage.gates:
            await gate.up()
        return True

    # The inputs.

    def _attack(
        self, burst: Callable[[Victim, int], Awaitable[int]]
    ) -> Callable[[Move], Awaitable[bool]]:
        async def attack(move: Move) -> bool:
            system = self._stage.system
            lane = TopicPartition(system.settings.orders_topic, move.target % system.partitions)
            try:
                async with asyncio.timeout(ATTACK_S):
                    await burst(Attacked(self._stage.kafka, system, lane), next(self._numbers))
            except (TimeoutError, KafkaError):
                return False
            return True

        return attack

    async def _let_senders_stamp(self, move: Move) -> bool:
        topic, right = self._stage.system.settings.orders_topic, topic_rules.INPUT_SETTINGS
        wrong = {**right, topic_rules.STAMPS: topic_rules.CREATE_TIME}
        return await self._misconfigure(move, topic, wrong, right)

    async def _refuse_events(self, move: Move) -> bool:
        """Let the broker refuse nearly every batch of events."""
        topic, right = self._stage.system.settings.events_topic, topic_rules.OUTPUT_SETTINGS
        wrong = {**right, topic_rules.BATCH_BYTES: SMALL_BATCH_BYTES}
        return await self._misconfigure(move, topic, wrong, right)

    async def _misconfigure(
        self, move: Move, topic: str, wrong: Mapping[str, str], right: Mapping[str, str]
    ) -> bool:
        """Give a topic wrong settings for a while. Workers that start meanwhile refuse to."""
        hit = await self._configured(topic, wrong)
        await asyncio.sleep(move.seconds)
        for _ in range(SETTINGS_TRIES):
            if await self._configured(topic, right):
                return hit
            await asyncio.sleep(1.0)
        raise AssertionError(f"{topic} could not be set back to {right}")

    async def _configured(self, topic: str, settings: Mapping[str, str]) -> bool:
        try:
            async with (
                asyncio.timeout(ATTACK_S),
                administrator(self._stage.kafka.bootstrap) as admin,
            ):
                await configure(admin, topic, **settings)
        except (TimeoutError, KafkaError, AssertionError):
            return False
        return True
