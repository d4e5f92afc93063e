"""The invariants of the exchange, and the report when one does not hold.

One or more rules look for each invariant. A rule has a name. A violation is reported with the id of
its invariant, the rule, the values found and their place.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

EXAMPLES_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Invariant:
    """One invariant, with the rules that look at tables (``rows``) and at topics (``history``)."""

    sentence: str
    rows: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    unchecked: str = ""
    """The reason why no rule looks for this invariant."""


INVARIANTS: Final[Mapping[str, Invariant]] = {
    "I1": Invariant(
        "cash is conserved: every amount that one account gets, another gives",
        ("ledger_unbalanced", "cash_differs", "lane_totals"),
        ("fill_postings",),
    ),
    "I2": Invariant(
        "the balance shown to an account is its pockets plus what a resolved market owes it",
        ("balances_differ",),
    ),
    "I3": Invariant(
        "every pocket is the sum of its ledger rows",
        ("pocket_differs",),
    ),
    "I4": Invariant(
        "nothing is negative, and every number is within its range",
        ("pocket_negative", "order_unfit", "trade_unfit"),
        ("cash_negative", "range"),
    ),
    "I5": Invariant(
        "each order has quantity = filled + cancelled + open",
        ("order_leaves", "order_fills"),
        ("leaves",),
    ),
    "I6": Invariant(
        "an id is taken once, and a repeat gets the first answer",
        ("key_differs",),
        ("id_twice", "first_answer"),
    ),
    "I7": Invariant(
        "price-time priority: no fill passes a better or older maker, each at the maker's price",
        (),
        ("passed_over", "fill_price"),
    ),
    "I8": Invariant(
        "a market lives in its home partition only, and so do an account's transfers",
        ("market_astray", "order_astray"),
        ("event_astray",),
    ),
    "I9": Invariant(
        "batches tile the input: every record below the cursor is answered, and no other",
        ("journal_gap", "journal_offsets", "journal_seqs", "journal_stray"),
        ("unanswered", "answer_to_nothing"),
    ),
    "I10": Invariant(
        "every record has one fitting answer, followed by its consequences",
        (),
        ("answer_twice", "answer_unfit", "index_gap", "refusal_unfit"),
    ),
    "I11": Invariant(
        "nothing is published before it is committed",
        ("published_ahead",),
        ("event_ahead",),
    ),
    "I12": Invariant(
        "first occurrences have no gap, repeats have the same bytes, all are in the journal",
        (),
        (
            "repeat_altered",
            "seq_gap",
            "market_gap",
            "not_an_event",
            "time_falls",
            "journal_differs",
            "dead_letters",
        ),
    ),
    "I13": Invariant(
        "the events alone give every row of the tables",
        (),
        (
            "balances_told",
            "positions_told",
            "orders_told",
            "trades_told",
            "transfers_told",
            "markets_told",
            "payouts_told",
        ),
    ),
    "I14": Invariant(
        "the history has one hash",
        unchecked="waits for the hash chain",
    ),
    "I15": Invariant(
        "one owner at a time: the epoch never falls",
        ("journal_epochs",),
    ),
    "I16": Invariant(
        "positions are the sums of trades, and those of each market sum to zero",
        ("position_differs", "positions_unbalanced"),
    ),
    "I17": Invariant(
        "the escrow of a market pays every open contract, exactly",
        ("escrow_differs", "escrow_not_covering", "open_interest"),
        ("collateral",),
    ),
    "I18": Invariant(
        "at rest no book is crossed",
        ("book_crossed",),
        ("crossed",),
    ),
    "I19": Invariant(
        "a resolved market is being settled, and then owes nothing and has no open order",
        ("settled_order_open", "settled_owes", "winner_unpaid", "payout_wrong", "unsettled"),
        ("after_the_end", "payout_unfit", "settled_unfit"),
    ),
    "I20": Invariant(
        "every row and event follows from recorded inputs and facts",
        (
            "market_missing",
            "trade_postings",
            "transfer_postings",
            "payout_postings",
            "posting_unfounded",
            "pocket_ownerless",
            "row_unfounded",
        ),
        ("event_unfounded", "replay_differs"),
    ),
}

INVARIANT_OF: Final[Mapping[str, str]] = {
    rule: name
    for name, invariant in INVARIANTS.items()
    for rule in (*invariant.rows, *invariant.history)
}
"""Maps each rule to the id of the invariant that it looks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A broken rule, its invariant, how often it was broken, and some examples."""

    invariant: str
    name: str
    count: int
    examples: tuple[str, ...]

    def line(self) -> str:
        """Return the violation on one line."""
        return f"{self.invariant} {self.name} {self.count}x: {self.examples[0]}"


class Findings:
    """Checks made and violations found, by rule, in the order of first appearance."""

    def __init__(self) -> None:
        self._checked: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def require(self, holds: object, rule: str, text: str, *of: object) -> None:
        """Note a violation of ``rule`` unless ``holds``. Only then is ``text`` formatted."""
        self._checked[rule] += 1
        if not holds:
            self._counts[rule] += 1
            examples = self._examples.setdefault(rule, [])
            if len(examples) < EXAMPLES_MAX:
                examples.append(text.format(*of))

    def count(self, *rules: str) -> int:
        """Return how often ``rules`` did not hold."""
        return sum(self._counts[rule] for rule in rules)

    def violations(self) -> tuple[Violation, ...]:
        """Return all violations."""
        return tuple(
            Violation(
                invariant=INVARIANT_OF[rule],
                name=rule,
                count=self._counts[rule],
                examples=tuple(examples),
            )
            for rule, examples in self._examples.items()
        )

    def checked(self) -> Mapping[str, int]:
        """Return how often each invariant was checked."""
        found = dict.fromkeys(INVARIANTS, 0)
        for rule, times in self._checked.items():
            found[INVARIANT_OF[rule]] += times
        return found
