"""The play: fund, trade, kill a worker in the middle, resolve, settle.

Every wait ends: with what was awaited, with a process that should not have ended, or at a deadline.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from signal import SIGCONT, SIGSTOP
from typing import Final

from worker.adapters.kafka.reader import AiokafkaReader
from worker.adapters.postgres.evidence import Evidence, LaneStanding
from worker.demo.options import Options
from worker.demo.proof import Killing
from worker.demo.show import Show
from worker.demo.stage import LOOK_EVERY_S, SYSTEM, Stage
from worker.embedded.crew import Crew
from worker.embedded.process import Child
from worker.errors import BrokerError, ParityError
from worker.ports import TopicPartition

PROGRESS_EVERY_S: Final = 0.1
SETTLED_LOOK_EVERY_S: Final = 0.3


class Awaited(ParityError):
    """Something did not happen by its deadline; the text says what."""


@dataclass(frozen=True, slots=True)
class View:
    """Where all lanes stand, and where their input topics end."""

    lanes: Sequence[LaneStanding]
    ends: Mapping[TopicPartition, int]

    def behind(self, lane: LaneStanding) -> int:
        """Return how many commands of the lane are not answered."""
        return self.ends[TopicPartition(lane.stream, lane.partition)] - lane.next_offset

    def behind_of(self, pid: int) -> list[int]:
        """Return the same of each lane of a process, where it is not zero."""
        return [n for n in map(self.behind, self.lanes_of(pid)) if n > 0]

    def lanes_of(self, pid: int) -> list[LaneStanding]:
        """Return the lanes of a process: a worker is called host/pid."""
        return [lane for lane in self.lanes if lane.owner.rpartition("/")[2] == str(pid)]

    @property
    def caught_up(self) -> bool:
        """Return whether every command is answered."""
        return not any(self.behind(lane) for lane in self.lanes)

    def answered(self, stream: str) -> int:
        """Return how many commands of a stream are answered."""
        return sum(lane.next_offset for lane in self.lanes if lane.stream == stream)

    def published(self, stream: str) -> int:
        """Return how many commands a stream has."""
        return sum(end for partition, end in self.ends.items() if partition.topic == stream)


class Play:
    """One performance."""

    def __init__(
        self,
        stage: Stage,
        options: Options,
        *,
        crew: Crew,
        evidence: Evidence,
        inputs: AiokafkaReader,
        show: Show,
    ) -> None:
        self._stage, self._options = stage, options
        self._crew, self._evidence, self._inputs, self._show = crew, evidence, inputs, show
        self._programs: list[Child] = []
        self._finished: set[Child] = set()
        self._trading: Child | None = None
        self._began = SYSTEM.clock()
        self.owners: dict[str, str] = {}
        """Workers by the name of their owner in the journal."""
        self.killing: Killing | None = None

    async def run(self) -> None:
        """Perform. Raises ParityError and EmbeddedError."""
        await self._fund()
        await self._trade()
        await self._resolve()

    async def _fund(self) -> None:
        workers = [self._crew.start_worker(name) for name in ("worker-1", "worker-2")]
        funded = self._publish("fund")

        def ready(view: View) -> bool:
            shared = all(view.lanes_of(worker.pid) for worker in workers)
            owned = all(lane.owner for lane in view.lanes)
            return shared and owned and funded in self._finished and view.caught_up

        view = await self._until("both workers to own lanes and all deposits answered", ready)
        for name, worker in zip(("worker-1", "worker-2"), workers, strict=True):
            self.owners[view.lanes_of(worker.pid)[0].owner] = name
        deposits = view.answered(self._stage.streams[1])
        self._show.say(f"  {'worker-1, worker-2':<26} at work, {deposits:,} deposits answered")

    async def _trade(self) -> None:
        self._began = SYSTEM.clock()
        self._trading = self._publish("trade")
        await self._kill_one_at_work()
        await self._until("all commands answered", self._done)
        elapsed = SYSTEM.clock() - self._began
        self._show.say(f"  {'all is answered':<26} {elapsed:.1f} s after the first order")

    async def _kill_one_at_work(self) -> None:
        """Freeze the worker that is furthest behind; if it has work in hand then, kill it."""
        half = f"{self._options.orders // 2:,} of {self._options.orders:,} orders answered"
        while True:
            view = await self._until(half, lambda view: self._busiest(view) or self._done(view))
            name = self._busiest(view)
            if name is None:
                return None
            worker = self._crew.workers[name]
            worker.send(SIGSTOP)
            view = await self._look()
            if view.behind_of(worker.pid):
                return await self._kill(name, view)
            worker.send(SIGCONT)

    def _busiest(self, view: View) -> str | None:
        """Return the worker that is furthest behind, once half of the orders are answered."""
        if view.answered(self._stage.streams[0]) < self._options.orders // 2:
            return None
        behind = {n: sum(view.behind_of(c.pid)) for n, c in self._crew.workers.items()}
        name = max(behind, key=lambda worker: behind[worker])
        return name if behind[name] else None

    async def _kill(self, name: str, view: View) -> None:
        child = self._crew.kill_worker(name)
        killed_at = SYSTEM.clock()
        lost, behind = view.lanes_of(child.pid), view.behind_of(child.pid)
        owner, commands = lost[0].owner, sum(behind)
        self.killing = Killing(name, owner, child.exit_code, len(behind), commands)
        self._show.say(
            f"  {name} killed (SIGKILL) after {view.answered(self._stage.streams[0]):,} commands,"
            f" {commands:,} behind in {len(behind)} of its {len(lost)} lanes; worker-3 starts"
        )
        replacement = self._crew.start_worker("worker-3")
        view = await self._until(
            "worker-3 to own lanes, the killed one none",
            lambda view: bool(view.lanes_of(replacement.pid)) and not view.lanes_of(child.pid),
        )
        self.owners[view.lanes_of(replacement.pid)[0].owner] = "worker-3"
        took_s = SYSTEM.clock() - killed_at
        self._show.say(f"  {'its lanes have new owners':<26} {took_s:.1f} s later")

    async def _resolve(self) -> None:
        resolved = self._publish("resolve")
        await self._until(
            f"the ends of {self._options.markets} markets answered",
            lambda view: resolved in self._finished and view.caught_up,
        )
        deadline = SYSTEM.clock() + self._options.deadline_s
        while True:
            self._crew.check()
            sums = await self._evidence.sums(self._stage.streams[0])
            if sums.markets_settled == self._options.markets:
                break
            if SYSTEM.clock() > deadline:
                text = f"{sums.markets_settled} of {self._options.markets} markets are settled"
                raise Awaited(f"waited {self._options.deadline_s:g} s, and {text}")
            await SYSTEM.sleep(SETTLED_LOOK_EVERY_S)
        self._show.say(f"  {sums.markets_settled} markets resolved and settled")

    def _publish(self, phase: str) -> Child:
        options = self._options
        arguments = {
            "phase": phase,
            "seed": self._stage.seed,
            "orders": options.orders,
            "markets": options.markets,
            "accounts": options.accounts,
            "sweep": options.sweep,
            "progress": PROGRESS_EVERY_S,
            "report-json": "-",
        }
        words = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
        program = self._crew.start(f"producer-{phase}", "worker", "load", *words)
        self._programs.append(program)
        return program

    def _done(self, view: View) -> bool:
        return self._trading in self._finished and view.caught_up

    async def _until(self, what: str, check: Callable[[View], object]) -> View:
        """Look again and again until ``check`` says yes."""
        deadline = SYSTEM.clock() + self._options.deadline_s
        while True:
            self._crew.check()
            # Before the look: what these have published is all in the view.
            self._finished = {program for program in self._programs if _ended(program)}
            try:
                view = await self._look()
            except BrokerError:
                # A busy machine: only the deadline below is final.
                if SYSTEM.clock() > deadline:
                    raise
                continue
            self._draw(view)
            if check(view):
                return view
            if SYSTEM.clock() > deadline:
                behind = sum(map(view.behind, view.lanes))
                raise Awaited(
                    f"waited {self._options.deadline_s:g} s for {what}; {behind:,} commands are"
                    " not answered"
                )
            await SYSTEM.sleep(LOOK_EVERY_S)

    async def _look(self) -> View:
        lanes = await self._evidence.lanes(self._stage.streams)
        return View(lanes, await self._inputs.ends())

    def _draw(self, view: View) -> None:
        if self._trading is None:
            return
        stream, elapsed = self._stage.streams[0], SYSTEM.clock() - self._began
        sent = self._said()
        orders = sent.get("orders", 0)
        self._show.bar("publish", orders, self._options.orders, "orders")
        answered, published = view.answered(stream), view.published(stream)
        rate = f"commands  {answered / elapsed:,.0f}/s" if elapsed else ""
        self._show.bar("match", answered, max(published, self._options.orders), rate)

    def _said(self) -> Mapping[str, int]:
        """Return what the producer said last."""
        lines = (self._crew.logs / "producer-trade.log").read_text(encoding="utf-8").splitlines()
        try:
            return json.loads(lines[-1]) if lines else {}
        except ValueError:
            return {}


def _ended(child: Child) -> bool:
    """Return whether a program has ended well. Raises EmbeddedError if it ended otherwise."""
    if child.exit_code:
        raise child.error(f"ended with {child.exit_code}")
    return child.exit_code == 0
