"""What a spectator sees: lines and bars while it runs, the proof as a table at the end."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from worker.demo.proof import Line

PLAIN_WIDTH: Final = 120
PLAIN_STEPS: Final = 4
"""So many lines does a bar become where there is no terminal."""


class Show:
    """Draws. Use as a context manager. Bars move on a terminal; elsewhere each is a few lines."""

    def __init__(self, *, to_stderr: bool) -> None:
        console = Console(stderr=to_stderr, highlight=False)
        self._live = console.is_terminal
        if not self._live:
            console = Console(stderr=to_stderr, highlight=False, width=PLAIN_WIDTH)
        self.console = console
        self._progress = Progress(
            TextColumn("  {task.description:<9}"),
            BarColumn(bar_width=32),
            _Count(),
            TextColumn("{task.fields[note]}"),
            console=console,
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
        """Print a line."""
        self.console.print(text, markup=False, soft_wrap=True)

    def bar(self, name: str, done: int, total: int, note: str = "") -> None:
        """Show how far something is."""
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
        """Print what it comes to."""
        word = Text("PASS", "bold green") if ok else Text("FAIL", "bold red")
        self.console.print(Text.assemble("  ", word, f"  {text}"))


def as_json(result: Mapping[str, object]) -> str:
    """Return the result for other programs."""
    return f"{json.dumps(result, indent=2)}\n"


class _Count(ProgressColumn):
    @override
    def render(self, task: Task) -> Text:
        return Text(f"{task.completed:>7,.0f} / {task.total or 0:,.0f}")
