"""Recorded inputs and the digests of their plans: ``python -m tests.golden_plans`` records them.

A file ``golden/rules_N.json`` belongs to the rules of version N (`worker.domain.digest.RULES`). It
has lanes with the records that they read, and batches with the facts that were read for them and
the digest of their plan. `unit/test_rules.py` plans the file of the present version again. An
existing file is never written over: its digests change only together with the version.
"""

import asyncio
import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NamedTuple

from typing_extensions import override

from producers.encode import encode
from tests.support import books
from tests.support.books import (
    Desk,
    buy,
    cancel,
    deposit,
    given,
    market_at,
    open_market,
    resolve,
    sell,
    withdraw,
)
from tests.support.fake_store import FakeBooks
from worker.domain.commands import (
    Command,
    Deposit,
    Outcome,
    Received,
    TimeInForce,
    Unreadable,
    Withdraw,
)
from worker.domain.digest import RULES
from worker.domain.facts import Facts, Limits
from worker.domain.plan import Batch as Planned
from worker.domain.plan import Gather, Park, Step
from worker.domain.state import Home, StreamKind
from worker.domain.transfers import Gathering
from worker.domain.turns import Turns, answering
from worker.domain.units import AccountId, LaneId, Money, Offset
from worker.ports import Statement
from worker.wire.decode import decode_order, decode_transfer

FOLDER: Final = Path(__file__).parent / "golden"


class Batch(NamedTuple):
    """The facts of a plan, and its digest. The plan answers the records before ``next_offset``."""

    next_offset: int
    facts: str
    digest: str


@dataclass
class LaneRecording:
    """A lane's records, as (time, key, value), and its batches, each in order."""

    home: Home
    records: list[tuple[int, str, str]]
    batches: list[Batch]

    def inputs(self) -> list[Received]:
        """Return the records as the lane decoded them."""
        return [
            received(self.home.kind, Offset(number), *record)
            for number, record in enumerate(self.records)
        ]


def received(kind: StreamKind, offset: Offset, time_ms: int, key: str, value: str) -> Received:
    decode = decode_order if kind is StreamKind.ORDERS else decode_transfer
    command = decode(key.encode(), value.encode(), ())
    return Received(offset, time_ms, f"{offset:064x}", command)


def file_of(rules: int) -> Path:
    return FOLDER / f"rules_{rules}.json"


def load(rules: int) -> list[LaneRecording]:
    """Return the lanes of a file."""
    return [
        LaneRecording(
            _home(StreamKind(lane["kind"]), lane["partition"]),
            [tuple(record) for record in lane["records"]],
            [Batch(*batch) for batch in lane["batches"]],
        )
        for lane in json.loads(file_of(rules).read_text(encoding="utf-8"))
    ]


def _home(kind: StreamKind, partition: int) -> Home:
    return books.orders_home(partition) if kind is StreamKind.ORDERS else books.transfers_home()


# Recording.


@dataclass
class Recorder(Desk):
    """A desk that notes every batch which it commits."""

    batches: list[Batch] = field(default_factory=list)

    @override
    def statement(self, batch: Planned) -> Statement:
        self.sent = super().statement(batch)
        return self.sent

    @override
    async def carry_out(self, step: Step, facts: Facts | None = None) -> Planned:
        batch = await super().carry_out(step, facts)
        noted = Batch(batch.draft.next_offset, given(self.sent, "facts"), self.sent.plan_hash)
        self.batches.append(noted)
        return batch

    async def begin(self, *commands: Command) -> None:
        """Commit one batch that answers commands, and leave its sweep as it is."""
        self.give(*commands)
        await self.carry_out(answering(self.state, self.unanswered))

    def give(self, *commands: Command) -> None:
        """Append commands to the log."""
        first = len(self.log)
        self.log += [books.received(Offset(first + n), each) for n, each in enumerate(commands)]

    @property
    def unanswered(self) -> list[Received]:
        """Return the commands that have no answer yet."""
        return [
            each
            for each in self.log
            if each.offset >= self.state.next_offset or each.offset in self.state.waiting
        ]

    async def take_turns(self, *commands: Command) -> None:
        """Commit until every command is answered and no long work is left."""
        self.give(*commands)
        turns = Turns()
        while step := turns.next(self.state, self.unanswered):
            await self.carry_out(step)

    def recording(self) -> LaneRecording:
        return LaneRecording(self.home, [_record(each) for each in self.log], self.batches)


def _record(each: Received) -> tuple[int, str, str]:
    match each.command:
        case Unreadable(key=key, value=value):
            return each.time_ms, (key or b"").decode(), (value or b"").decode()
        case Deposit() | Withdraw() as command:
            return each.time_ms, command.account_id, encode(command).decode()
        case command:
            return each.time_ms, command.market_id, encode(command).decode()


RAIN, SNOW, HAIL, FOG = (market_at(0, name) for name in ("rain", "snow", "hail", "fog"))
ELSEWHERE: Final = market_at(1, "elsewhere")
ANN, BEN, CAT = (AccountId(name) for name in ("ann", "ben", "cat"))
SMALL: Final = Limits(2_500, fills=1)


async def record() -> list[LaneRecording]:
    """Run commands of every kind, with every kind of answer, in every kind of step."""
    made = FakeBooks.opened()
    cash = await Recorder.open(made.store(), books.transfers_home())
    lane = await Recorder.open(made.store(), books.orders_home(0))
    other = await Recorder.open(made.store(), books.orders_home(1))
    await _pay_in(cash)
    await _trade(lane)
    await _refuse(lane)
    await _trade_elsewhere(other)
    await _interrupt(lane)
    await _resolve(lane)
    await _pay_out(cash)
    return [desk.recording() for desk in (cash, lane, other)]


async def _pay_in(cash: Recorder) -> None:
    await cash.run(
        deposit(ANN, 10_000, "first"),
        deposit(BEN, 10_000, "first"),
        deposit(CAT, 300, "first"),
        deposit(ANN, 10_000, "first"),
        deposit(ANN, 9_999, "first"),
        deposit(ANN, 0, "nothing"),
        withdraw("nobody", 5, "unknown"),
        withdraw(CAT, 301, "too-much"),
        withdraw(ANN, 100, "out"),
        decode_transfer(b"k", b"no command", ()),
    )


async def _trade(lane: Recorder) -> None:
    await lane.run(
        replace(open_market(RAIN), title="Regnet es? \u2602"),
        open_market(SNOW, payout=10),
        open_market(RAIN, payout=10),
        sell(RAIN, BEN, 10, 60, "offer"),
        buy(RAIN, ANN, 4, 60, "bid"),
        replace(buy(RAIN, ANN, 20, 65, "ioc"), time_in_force=TimeInForce.IOC),
        buy(RAIN, ANN, 5, 50, "own"),
        sell(RAIN, ANN, 5, 50, "own-too"),
        buy(RAIN, CAT, 3, 90, "poor-1"),
        buy(RAIN, CAT, 3, 80, "poor-2"),
        sell(RAIN, BEN, 6, 70, "into"),
        buy(RAIN, ANN, 2, 40, "gone"),
        cancel(RAIN, ANN, "gone"),
        sell(RAIN, BEN, 3, 95, "resting"),
    )


async def _refuse(lane: Recorder) -> None:
    await lane.run(
        replace(open_market(RAIN), title="Regnet es? \u2602"),
        open_market(HAIL, payout=1),
        open_market(ELSEWHERE),
        buy(RAIN, ANN, 4, 60, "bid"),
        buy(RAIN, ANN, 5, 60, "bid"),
        buy(RAIN, ANN, 1, 0, "no-price"),
        buy(RAIN, ANN, 0, 50, "no-quantity"),
        buy(RAIN, "nobody", 1, 50, "no-account"),
        buy(FOG, ANN, 1, 50, "no-market"),
        buy(ELSEWHERE, ANN, 1, 50, "astray"),
        buy(RAIN, CAT, 1_000, 90, "no-money"),
        cancel(RAIN, ANN, "bid"),
        cancel(RAIN, ANN, "never-was"),
        replace(resolve(RAIN), operator_id=AccountId("stranger")),
        resolve(FOG),
        decode_order(b"k", b'{"type":"PLACE_ORDER"}', ()),
    )


async def _trade_elsewhere(other: Recorder) -> None:
    """Draw from a pocket of another lane, and fail to where draws are not allowed."""
    await other.run(open_market(ELSEWHERE), sell(ELSEWHERE, BEN, 100, 50, "deep"))
    await other.run(buy(ELSEWHERE, ANN, 150, 50, "drawn"))
    await other.run(sell(ELSEWHERE, CAT, 1, 50, "small"))
    no_draws = Facts(no_draws=frozenset({BEN}))
    await other.run(buy(ELSEWHERE, BEN, 150, 50, "in-use"), facts=no_draws)


async def _interrupt(lane: Recorder) -> None:
    """Cut a sweep, park another one, and meet an error in the rules."""
    for number in range(3):
        await lane.run(sell(SNOW, BEN, 2, 5, f"level-{number}"))
    lane.limits = SMALL
    await lane.run(buy(SNOW, ANN, 5, 6, "swept"))
    await lane.run(sell(SNOW, BEN, 2, 5, "level-3"), sell(SNOW, BEN, 2, 5, "level-4"))
    await lane.run(*[sell(SNOW, BEN, 1, 5, f"level-{number}") for number in (7, 8, 9)])
    await lane.take_turns(
        buy(SNOW, ANN, 6, 6, "long"), buy(SNOW, BEN, 1, 4, "waits"), buy(RAIN, ANN, 1, 30, "passes")
    )
    await lane.run(*[sell(SNOW, BEN, 2, 5, f"level-{number}") for number in (5, 6)])
    await lane.begin(buy(SNOW, ANN, 5, 6, "parked"))
    assert lane.state.sweeps
    await lane.carry_out(Park(SNOW, sweep=True))
    lane.limits = Limits(2_500)
    await lane.run(buy(SNOW, ANN, 1, 5, "halted"))
    await lane.run(open_market(HAIL))
    await lane.halt(HAIL)


async def _resolve(lane: Recorder) -> None:
    lane.limits = SMALL
    await lane.run(resolve(RAIN, Outcome.NO))
    await lane.settle()
    await lane.run(resolve(RAIN), buy(RAIN, ANN, 1, 50, "late"), cancel(RAIN, ANN, "bid"))
    await lane.run(resolve(RAIN, Outcome.NO), resolve(SNOW))
    await lane.carry_out(Park(SNOW))
    lane.limits = Limits(2_500)


async def _pay_out(cash: Recorder) -> None:
    """Gather money for a withdrawal, and answer one that may not draw."""
    await cash.carry_out(Gather((Gathering(BEN, LaneId(0), Money(50)),)))
    await cash.run(withdraw(BEN, 60, "gathered"), facts=Facts(no_draws=frozenset({BEN})))
    await cash.run(withdraw(BEN, 500, "drawn"))


def _text(lanes: list[LaneRecording]) -> str:
    """Return JSON with a line for each record and each batch."""
    texts = []
    for lane in lanes:
        records, batches = (
            ",\n".join(f"  {json.dumps(row)}" for row in rows)
            for rows in (lane.records, lane.batches)
        )
        home = f'"kind": "{lane.home.kind}", "partition": {lane.home.partition}'
        texts.append(f'{{{home},\n "records": [\n{records}],\n "batches": [\n{batches}]}}')
    return f"[{','.join(texts)}]\n"


def main() -> int:
    """Write the file of the present rules, unless it is there."""
    file = file_of(RULES)
    if file.exists():
        print(
            f"{file} exists: it is the record of rules {RULES}, which must not change."
            " To record other answers, increment RULES in worker/domain/digest.py first.",
            file=sys.stderr,
        )
        return 1
    FOLDER.mkdir(exist_ok=True)
    file.write_text(_text(asyncio.run(record())), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
