"""A variant of the shipped code that is wrong on purpose, and the cheapest check that must notice.

An edit replaces text of a real file, in a private copy of the tree. Its text must stand there
exactly once, so that a mutant whose code moved on is noticed, and not taken for killed.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Edit:
    """One text of one file, and what stands there instead."""

    path: str
    old: str
    new: str

    def apply(self, root: Path) -> None:
        """Make the file wrong. Raises ValueError when the text does not stand there once."""
        file = root / self.path
        text = file.read_text(encoding="utf-8")
        if (times := text.count(self.old)) != 1:
            raise ValueError(f"{self.path} has this text {times} times, not once: {self.old!r}")
        file.write_text(text.replace(self.old, self.new), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Nodes:
    """Tests of which one must fail."""

    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seeds:
    """Seeds of the simulation of which one must show a violation."""

    first: int
    count: int


Killer = Nodes | Seeds


@dataclass(frozen=True, slots=True)
class Mutant:
    """A broken variant. ``name`` says what it does, not what it should do."""

    name: str
    edits: tuple[Edit, ...]
    killer: Killer

    def apply(self, root: Path) -> None:
        """Make the tree under ``root`` wrong."""
        for edit in self.edits:
            edit.apply(root)


def mutant(name: str, path: str, old: str, new: str, killer: Killer) -> Mutant:
    """Return a mutant of one edit, as nearly all are."""
    return Mutant(name, (Edit(path, old, new),), killer)


def tests(*nodes: str) -> Nodes:
    """Return tests of which one must fail, cheapest first."""
    return Nodes(nodes)


def seeds(count: int, first: int = 0) -> Seeds:
    """Return seeds of which one must show a violation."""
    return Seeds(first, count)


def case(test: str, what: str, *, in_steps: bool = False) -> Nodes:
    """Return a wrong batch of ``test_guards.py`` that must still be refused."""
    way = "in steps" if in_steps else "one statement"
    return Nodes((f"tests/integration/test_guards.py::{test}[{way}-{what}]",))


def contract(test: str, store: str = "postgres") -> Nodes:
    """Return a test of the contract that every store keeps, on one of them."""
    return Nodes((f"tests/contract/test_store.py::{test}[{store}]",))
