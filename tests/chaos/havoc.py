"""The hands that break things: each kind of fault of ``mix`` is a method here, and mends itself."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from signal import SIGCONT, SIGSTOP, SIGUSR1
from typing import Final

from tests.chaos.mix import KINDS, Move, Sort
from tests.chaos.stage import BROKERS, WORKERS, Stage
from tests.chaos.worker import BLOCKED_S
from tests.support.pgproxy import Fault

SPRING_S: Final = 20.0
"""So long a trap waits for a batch."""
SLOW_S: Final = 0.15


class Havoc:
    """Plays moves, and counts those that hit."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._clock = asyncio.get_running_loop().time
        self._began_s = self._clock()
        self._hands: dict[str, Callable[[Move], Awaitable[bool]]] = {
            "worker killed": self._kill_worker,
            "worker asked to stop": self._replace_worker,
            "worker stopped past its session": self._stop_worker,
            "worker's event loop blocked": self._block_worker,
            "worker comes and goes": self._come_and_go,
            "statement cut before it arrives": self._trap(Fault.BEFORE),
            "statement cut in its middle": self._trap(Fault.MIDDLE),
            "reply to a commit lost": self._trap(Fault.AFTER),
            "statement in limbo, arrives later": self._trap(Fault.LIMBO),
            "reply to a commit swallowed": self._trap(Fault.SWALLOW),
            "statement held up": self._trap(Fault.HOLD),
            "database says goodbye": self._goodbye,
            "every line to the database cut": self._cut_database,
            "database slow": self._slow_database,
            "database killed": self._kill_database,
            "broker killed": self._kill_broker,
            "broker stopped": self._stop_broker,
            "broker restarted": self._restart_broker,
            "lines to a broker cut": self._cut_broker,
            "lines to all brokers cut": self._cut_brokers,
            "a broker silent": self._silence_broker,
            "all brokers silent": self._silence_brokers,
        }
        assert self._hands.keys() == KINDS.keys()
        self.done: Counter[str] = Counter()

    def count(self, sort: Sort) -> int:
        """Return how many faults of a sort there were so far."""
        return sum(n for name, n in self.done.items() if KINDS[name].sort is sort)

    async def play(self, moves: Sequence[Move]) -> None:
        """Do one after the other, each when its time has come."""
        for move in moves:
            await asyncio.sleep(max(0.0, self._began_s + move.at_s - self._clock()))
            hit = await self._hands[move.name](move)
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

    async def _come_and_go(self, move: Move) -> bool:
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
