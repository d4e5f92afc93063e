"""The output of a program: lines and bars while it runs, the proof as a table at the end."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from worker import config
from worker.printable import printable_lines

PLAIN_WIDTH: Final = 120
PLAIN_STEPS: Final = 4
"""Lines that a bar becomes where there is no terminal."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a proof."""

    name: str
    value: str
    must_be: str
    ok: bool


def zero(name: str, value: int) -> Line:
    """Return the line of a number that must be zero."""
    return Line(name, f"{value:,}", "0", value == 0)


def equal(name: str, one: int, other: int) -> Line:
    """Return the line of two numbers that must be equal."""
    return Line(name, f"{one:,} / {other:,}", "equal", one == other)


def least(name: str, value: int, least: int) -> Line:
    """Return the line of a number that must not be below ``least``."""
    return Line(name, f"{value:,}", f">= {least:,}", value >= least)


def console(stream: IO[str], plain_width: int) -> Console:
    """Return a console. Where there is no terminal, its lines are long and plain.

    rich alone would draw on a file too if FORCE_COLOR is set, and in bold despite NO_COLOR.
    """
    terminal = stream.isatty()
    return Console(
        file=stream,
        width=None if terminal else plain_width,
        force_terminal=terminal,
        color_system="auto" if config.wants_colours(stream) else None,
        highlight=False,
        markup=False,
    )


class Show:
    """Draws. Use as a context manager. Bars move on a terminal and are a few lines elsewhere."""

    def __init__(self, *, to_stderr: bool) -> None:
        self.console = console(sys.stderr if to_stderr else sys.stdout, PLAIN_WIDTH)
        self._live = self.console.is_terminal
        self._progress = Progress(
            TextColumn("  {task.description:<9}"),
            BarColumn(bar_width=32),
            _Count(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
        )
        self._bars: dict[str, TaskID] = {}
        self._steps: dict[str, int] = {}
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        if self._live:
            self._closing.enter_context(self._progress)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def say(self, text: str) -> None:
        """Print a line, or several."""
        self.console.print(printable_lines(text), soft_wrap=True)

    def bar(self, name: str, done: int, total: int, note: str = "") -> None:
        """Show progress: ``done`` of ``total``."""
        if self._live:
            if name not in self._bars:
                self._bars[name] = self._progress.add_task(name, note=note)
            self._progress.update(self._bars[name], completed=done, total=total, note=note)
            return
        step = PLAIN_STEPS * done // total if total else 0
        if step > self._steps.get(name, 0):
            self._steps[name] = step
            self.say(f"  {name:<9} {done:>7,} of {total:,}  {note}".rstrip())

    def proof(self, lines: Sequence[Line]) -> None:
        """Print the proof."""
        table = Table(box=None, title=None, pad_edge=False, header_style="bold")
        table.add_column(" proof")
        table.add_column("value", justify="right", no_wrap=True)
        table.add_column("must be", justify="right", no_wrap=True)
        table.add_column("")
        for line in lines:
            verdict = Text("ok", "green") if line.ok else Text("FAIL", "bold red")
            table.add_row(f" {line.name}", line.value, line.must_be, verdict)
        self.console.print(table)

    def verdict(self, text: str, *, ok: bool) -> None:
        """Print PASS or FAIL."""
        word = Text("PASS", "bold green") if ok else Text("FAIL", "bold red")
        self.console.print(Text.assemble("  ", word, f"  {text}"))


class _Count(ProgressColumn):
    @override
    def render(self, task: Task) -> Text:
        return Text(f"{task.completed:>7,.0f} / {task.total or 0:,.0f}")
