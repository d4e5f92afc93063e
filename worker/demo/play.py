"""The acts of a demo: fund, trade, kill a worker in the middle, resolve, settle.

Every wait ends: with success, with a process that ended by itself, or at a deadline.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from signal import SIGCONT, SIGSTOP
from typing import Final

from worker.adapters.kafka.reader import AiokafkaReader
from worker.adapters.postgres.evidence import Evidence, LaneStanding
from worker.demo.options import Options
from worker.demo.stage import Opening
from worker.demo.verdict import Killing
from worker.embedded.crew import Crew
from worker.embedded.process import Child
from worker.errors import BrokerError
from worker.ports import TopicPartition
from worker.stage.program import SYSTEM, Deadline
from worker.stage.show import Show

LOOK_EVERY_S: Final = 0.05
PROGRESS_EVERY_S: Final = 0.1
SETTLED_LOOK_EVERY_S: Final = 0.3


@dataclass(frozen=True, slots=True)
class View:
    """The positions of all lanes, and the ends of their input topics."""

    lanes: Sequence[LaneStanding]
    ends: Mapping[TopicPartition, int]

    def lag(self, lane: LaneStanding) -> int:
        """Return how many commands of the lane are not answered."""
        return self.ends[TopicPartition(lane.stream, lane.partition)] - lane.next_offset

    def lags_of(self, pid: int) -> list[int]:
        """Return the lag of each lane of a process, without zeros."""
        return [n for n in map(self.lag, self.lanes_of(pid)) if n > 0]

    def lanes_of(self, pid: int) -> list[LaneStanding]:
        """Return the lanes of a process. A worker's name is host/pid."""
        return [lane for lane in self.lanes if lane.owner.rpartition("/")[2] == str(pid)]

    @property
    def caught_up(self) -> bool:
        """Return whether every command is answered."""
        return not any(self.lag(lane) for lane in self.lanes)

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
        opening: Opening,
        options: Options,
        *,
        crew: Crew,
        evidence: Evidence,
        inputs: AiokafkaReader,
        show: Show,
    ) -> None:
        self._seed, self._options = opening.seed, options
        self._orders, self._transfers = opening.stage.names
        self._crew, self._evidence, self._inputs, self._show = crew, evidence, inputs, show
        self._programs: list[Child] = []
        self._finished: set[Child] = set()
        self._trading: Child | None = None
        self._began_s = SYSTEM.clock()
        self.owners: dict[str, str] = {}
        """Names of workers by their owner in the journal."""
        self.killing: Killing | None = None

    async def run(self) -> None:
        """Perform. Raises ParityError and EmbeddedError."""
        await self._fund()
        await self._trade()
        await self._resolve()

    async def _fund(self) -> None:
        workers = dict(self._crew.workers)
        funded = self._publish("fund")

        def ready(view: View) -> bool:
            shared = all(view.lanes_of(worker.pid) for worker in workers.values())
            owned = all(lane.owner for lane in view.lanes)
            return shared and owned and funded in self._finished and view.caught_up

        view = await self._until("both workers to own lanes and all deposits answered", ready)
        for name, worker in workers.items():
            self.owners[view.lanes_of(worker.pid)[0].owner] = name
        deposits = view.answered(self._transfers)
        self._show.say(f"  {', '.join(workers):<26} at work, {deposits:,} deposits answered")

    async def _trade(self) -> None:
        self._began_s = SYSTEM.clock()
        self._trading = self._publish("trade")
        await self._kill_one_at_work()
        await self._until("all commands answered", self._done)
        elapsed_s = SYSTEM.clock() - self._began_s
        self._show.say(f"  {'all is answered':<26} {elapsed_s:.1f} s after the first order")

    async def _kill_one_at_work(self) -> None:
        """Freeze the worker with the greatest lag, and kill it if it then has work in hand."""
        half = f"{self._options.orders // 2:,} of {self._options.orders:,} orders answered"
        while True:
            view = await self._until(half, lambda view: self._busiest(view) or self._done(view))
            name = self._busiest(view)
            if name is None:
                return None
            worker = self._crew.workers[name]
            # Frozen first: the look would be out of date if the worker went on meanwhile.
            worker.send(SIGSTOP)
            view = await self._look()
            if view.lags_of(worker.pid):
                return await self._kill(name, view)
            worker.send(SIGCONT)

    def _busiest(self, view: View) -> str | None:
        """Return the worker with the greatest lag, once half of the orders are answered."""
        if view.answered(self._orders) < self._options.orders // 2:
            return None
        lags = {n: sum(view.lags_of(c.pid)) for n, c in self._crew.workers.items()}
        name = max(lags, key=lambda worker: lags[worker])
        return name if lags[name] else None

    async def _kill(self, name: str, view: View) -> None:
        child = self._crew.kill_worker(name)
        killed_at_s = SYSTEM.clock()
        lost, lags = view.lanes_of(child.pid), view.lags_of(child.pid)
        self.killing = Killing(name, lost[0].owner, child.exit_code, len(lags), sum(lags))
        self._show.say(
            f"  {name} killed (SIGKILL) after {view.answered(self._orders):,} commands,"
            f" {sum(lags):,} not answered in {len(lags)} of its {len(lost)} lanes; worker-3 starts"
        )
        replacement = self._crew.start_worker("worker-3")
        view = await self._until(
            "worker-3 to own lanes, the killed one none",
            lambda view: bool(view.lanes_of(replacement.pid)) and not view.lanes_of(child.pid),
        )
        self.owners[view.lanes_of(replacement.pid)[0].owner] = "worker-3"
        took_s = SYSTEM.clock() - killed_at_s
        self._show.say(f"  {'its lanes have new owners':<26} {took_s:.1f} s later")

    async def _resolve(self) -> None:
        markets, resolved = self._options.markets, self._publish("resolve")
        await self._until(
            f"the resolutions of {markets} markets answered",
            lambda view: resolved in self._finished and view.caught_up,
        )
        deadline = Deadline("all markets to be settled", self._options.deadline_s)
        while True:
            self._crew.check()
            settled = (await self._evidence.sums(self._orders)).markets_settled
            if settled == markets:
                break
            deadline.require(f"{settled} of {markets} are")
            await SYSTEM.sleep(SETTLED_LOOK_EVERY_S)
        self._show.say(f"  {settled} markets resolved and settled")

    def _publish(self, phase: str) -> Child:
        options = self._options
        arguments = {
            "phase": phase,
            "seed": self._seed,
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
        """Look again and again until ``check`` is true of a view."""
        deadline = Deadline(what, self._options.deadline_s)
        while True:
            self._crew.check()
            # Before the look, so that the view has everything that these have published.
            self._finished = {program for program in self._programs if _ended(program)}
            try:
                view = await self._look()
            except BrokerError:
                # A busy machine may answer late. Only the deadline is final.
                if deadline.passed:
                    raise
                continue
            self._draw(view)
            if check(view):
                return view
            deadline.require(f"{sum(map(view.lag, view.lanes)):,} commands are not answered")
            await SYSTEM.sleep(LOOK_EVERY_S)

    async def _look(self) -> View:
        lanes = await self._evidence.lanes((self._orders, self._transfers))
        # After the lanes: no cursor can pass an end that is read later.
        return View(lanes, await self._inputs.ends())

    def _draw(self, view: View) -> None:
        if self._trading is None:
            return
        elapsed_s = SYSTEM.clock() - self._began_s
        orders = self._progress().get("orders", 0)
        self._show.bar("publish", orders, self._options.orders, "orders")
        answered, published = view.answered(self._orders), view.published(self._orders)
        rate = f"commands  {answered / elapsed_s:,.0f}/s" if elapsed_s else ""
        self._show.bar("match", answered, max(published, self._options.orders), rate)

    def _progress(self) -> Mapping[str, int]:
        """Return the last report of the producer."""
        lines = (self._crew.logs / "producer-trade.log").read_text(encoding="utf-8").splitlines()
        try:
            return json.loads(lines[-1]) if lines else {}
        except ValueError:
            # The producer is in the middle of a line.
            return {}


def _ended(child: Child) -> bool:
    """Return whether a program has ended well. Raises EmbeddedError if it failed."""
    if child.exit_code:
        raise child.error(f"ended with {child.exit_code}")
    return child.exit_code == 0
