"""Variants of the shipped code that are wrong on purpose, each with the cheapest check to notice.

An edit replaces text of a real file, in a private copy of the tree. The text must occur exactly
once. A mutant whose code has changed is therefore reported, and not counted as killed.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Edit:
    """A text of a file, and its replacement."""

    path: str
    old: str
    new: str

    def apply(self, root: Path) -> None:
        """Make the file wrong. Raises ValueError unless the text occurs exactly once."""
        file = root / self.path
        text = file.read_text(encoding="utf-8")
        if (times := text.count(self.old)) != 1:
            raise ValueError(f"{self.path} has this text {times} times, not once: {self.old!r}")
        file.write_text(text.replace(self.old, self.new), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Nodes:
    """Tests, at least one of which must fail."""

    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seeds:
    """Seeds of the simulation, at least one of which must show a violation."""

    first: int
    count: int


Killer = Nodes | Seeds


@dataclass(frozen=True, slots=True)
class Mutant:
    """A broken variant. ``name`` describes the wrong behaviour."""

    name: str
    edits: tuple[Edit, ...]
    killer: Killer

    def apply(self, root: Path) -> None:
        """Make the tree under ``root`` wrong."""
        for edit in self.edits:
            edit.apply(root)


def mutant(name: str, path: str, old: str, new: str, killer: Killer) -> Mutant:
    """Return a mutant of one edit, like nearly all mutants."""
    return Mutant(name, (Edit(path, old, new),), killer)


def tests(*nodes: str) -> Nodes:
    """Return tests, cheapest first, at least one of which must fail."""
    return Nodes(nodes)


def seeds(count: int, first: int = 0) -> Seeds:
    """Return seeds, at least one of which must show a violation."""
    return Seeds(first, count)


def case(test: str, what: str, *, in_steps: bool = False) -> Nodes:
    """Return the test that a wrong batch of ``test_guards.py`` is still refused."""
    way = "in steps" if in_steps else "one statement"
    return Nodes((f"tests/integration/test_guards.py::{test}[{way}-{what}]",))


def contract(test: str, store: str = "postgres") -> Nodes:
    """Return a test of the contract of every store, run on one of the stores."""
    return Nodes((f"tests/contract/test_store.py::{test}[{store}]",))
