"""What the commands print for a person, or for a program: tables and JSON, on stdout."""

import json
import sys
from collections.abc import Sequence
from typing import Final

import typer
from rich.console import Console
from rich.table import Table

from worker.audit import AuditResult, Proof

PIPE_COLUMNS: Final = 200


def as_json(value: object) -> None:
    """Print a value on one line."""
    typer.echo(json.dumps(value))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their names; whole numbers with their thousands apart."""
    drawn = Table(box=None, pad_edge=False)
    for name in head:
        # Nothing is cut off: what is last in a long word may be what it is about.
        drawn.add_column(name, overflow="fold")
    for row in rows:
        drawn.add_row(*(f"{cell:,}" if type(cell) is int else str(cell) for cell in row))
    # What reads a pipe wants whole lines.
    width = None if sys.stdout.isatty() else PIPE_COLUMNS
    Console(width=width, highlight=False, markup=False).print(drawn)


def proof(found: Proof) -> None:
    """Print what the books prove, line by line, and the verdict."""
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
        ("batches not yet known to be published", found.batches_unpublished, ""),
        *((f"markets {status}", count, "") for status, count in found.markets.items()),
    ]
    table(("proof", "value", "must be"), rows)
    typer.echo(f"{'CONSISTENT' if found.consistent else 'NOT CONSISTENT'}  backend {found.backend}")


def audit(result: AuditResult) -> None:
    """Print each invariant, examples of what broke it, and the verdict."""
    rows = [
        (name, it["sentence"], it["unchecked"] or it["checked"] or "nothing", it["violations"])
        for name, it in result.by_invariant().items()
    ]
    table(("", "invariant", "checked", "violations"), rows)
    for violation in result.violations:
        typer.echo(f"{violation.invariant} {violation.name}: {violation.count:,}")
        for example in violation.examples:
            typer.echo(f"  {example}")
    verdict = "NOT CONSISTENT" if result.violations else "CONSISTENT"
    seen = f"{result.rows:,} rows, {result.events:,} events in {result.seconds:.1f} s"
    typer.echo(f"{verdict}  {seen}")


def _mark(ok: bool) -> str:
    return "ok" if ok else "FAILED"
