"""The output of the commands: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer
from rich.table import Table

from worker.audit import AuditResult, Proof
from worker.audit.invariants import INVARIANTS
from worker.printable import printable
from worker.stage.show import console

PIPE_COLUMNS: Final = 200
NOTED_LATER: Final = "any, noted with the next batch"
NEEDS_EVENTS: Final = "needs --events"

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def say(text: str) -> None:
    """Print a line at once. Characters that are not printable become escapes."""
    sys.stdout.write(f"{printable(text)}\n")
    sys.stdout.flush()


def print_json(value: object) -> None:
    """Print one line of JSON."""
    say(json.dumps(value))


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print columns. Integers have commas between thousands."""
    table = Table(box=None, pad_edge=False)
    for name in head:
        # Nothing is cut off: the end of a long word may be its most important part.
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(f"{cell:,}" if type(cell) is int else printable(str(cell)) for cell in row))
    console(sys.stdout, PIPE_COLUMNS).print(table)


def print_proof(found: Proof) -> None:
    """Print the sums of the books next to their required values, and the verdict."""
    cash = found.cash_in_pockets + found.escrow
    zeros = (
        ("ledger imbalance", found.ledger_imbalance),
        ("negative balances", found.negative_balances),
        ("markets whose positions do not sum to zero", found.positions_off),
        ("markets whose escrow does not cover", found.escrow_mismatches),
        ("markets whose open interest is off", found.open_interest_mismatches),
        ("gaps in the journal", found.journal_gaps),
    )
    rows: list[tuple[object, ...]] = [
        ("trades", found.trades, ""),
        ("cash in - out", found.cash_in - found.cash_out, ""),
        ("cash in pockets + escrow", cash, "equal " + _mark(found.cash_conserved)),
        *((name, value, f"0 {_mark(value == 0)}") for name, value in zeros),
        ("batches / events", f"{found.batches:,} / {found.events:,}", ""),
        ("batches not yet noted as published", found.batches_unpublished, NOTED_LATER),
        *((f"markets {status}", count, "") for status, count in found.markets.items()),
    ]
    print_table(("proof", "value", "must be"), rows)
    say(f"{'CONSISTENT' if found.consistent else 'NOT CONSISTENT'}  backend {found.backend}")


def print_audit(result: AuditResult) -> None:
    """Print how much was checked for each invariant, and every violation with examples."""
    skipped = _skipped(result)
    rows = [
        (name, it["sentence"], skipped[name], "-")
        if name in skipped
        else (name, it["sentence"], it["checked"] or "nothing", it["violations"])
        for name, it in result.by_invariant().items()
    ]
    print_table(("", "invariant", "checked", "violations"), rows)
    for violation in result.violations:
        say(f"{violation.invariant} {violation.name}: {violation.count:,}")
        for example in violation.examples:
            say(f"  {example}")
    verdict = "NOT CONSISTENT" if result.violations else "CONSISTENT"
    seen = f"{result.rows:,} rows, {result.events:,} events in {result.seconds:.1f} s"
    batches = f"; batches: {result.replayed}" if result.replayed else ""
    say(f"{verdict}  {seen}{batches}")
    say("not checked: " + ", ".join(f"{name} ({why})" for name, why in skipped.items()))


def _skipped(result: AuditResult) -> dict[str, str]:
    """Return the invariants that no rule looked for, each with the reason."""
    without_events = result.replayed is None
    return {
        name: invariant.unchecked or NEEDS_EVENTS
        for name, invariant in INVARIANTS.items()
        if not invariant.rows and (invariant.unchecked or without_events)
    }


def _mark(ok: bool) -> str:
    return "ok" if ok else "FAILED"
