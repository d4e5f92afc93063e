"""Measure the tails of the code and the dialect of its prose: ``make tails``.

``--of PATH`` adds a column for another checkout of this repository, to compare before and after.
Nothing is imported or run.
"""

import argparse
import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Final

from tests.style.texts import docstrings

ROOT: Final = Path(__file__).parents[2]
ATTRIBUTES_MAX: Final = 8
METHODS_MAX: Final = 15
DIALECT: Final = re.compile(
    r"\b(?:who|whom|whoever|tells?|told|stands?|beside|behind|anew)\b", re.IGNORECASE
)
"""The words whose share is counted; ``prose.py`` forbids more."""
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One file of Python and its syntax tree."""

    source: str
    tree: ast.Module

    @property
    def lines(self) -> Sequence[str]:
        return self.source.splitlines()

    @cached_property
    def nodes(self) -> Sequence[ast.AST]:
        return [*ast.walk(self.tree)]

    @property
    def functions(self) -> Iterator[_Function]:
        return (node for node in self.nodes if isinstance(node, _Function))

    @property
    def classes(self) -> Iterator[ast.ClassDef]:
        return (node for node in self.nodes if isinstance(node, ast.ClassDef))

    @cached_property
    def prose(self) -> str:
        """All docstrings, those of attributes too, and all comments."""
        tokens = tokenize.generate_tokens(io.StringIO(self.source).readline)
        comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
        return " ".join([*(str(node.value) for node in docstrings(self.tree)), *comments])


def table(checkouts: Sequence[Path]) -> str:
    """Return the measures as a Markdown table with a column for each checkout."""
    columns = [measures(checkout) for checkout in checkouts]
    names = ["here", *(str(checkout) for checkout in checkouts[1:])]
    lines = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {row} | {' | '.join(c[row] for c in columns)} |" for row in columns[0]]
    return "\n".join(lines)


def measures(checkout: Path) -> Mapping[str, str]:
    """Return each measure of a checkout by its name; code is ``worker``, tests are ``tests``."""
    worker, tests = _modules(checkout / "worker"), _modules(checkout / "tests")
    lengths = [_length(function) for module in worker for function in module.functions]
    sizes = [len(module.lines) for module in worker]
    comments = sum(line.strip().startswith("#") for module in worker for line in module.lines)
    classes = [node for module in worker for node in module.classes]
    wide = sum(_attributes(node) > ATTRIBUTES_MAX for node in classes)
    busy = sum(_methods(node) > METHODS_MAX for node in classes)
    names = [
        function.name
        for module in tests
        for function in module.functions
        if function.name.startswith("test_")
    ]
    test_lines = sum(len(module.lines) for module in tests)
    percentiles = " / ".join(str(_percentile(lengths, share)) for share in (0.5, 0.9, 0.99, 1))
    return {
        "function median / p90 / p99 / max lines": percentiles,
        "module median / max": f"{median(sizes):.0f} / {max(sizes)}",
        "comment lines": f"{comments / sum(sizes):.1%}",
        "classes > 8 attributes / > 15 methods": f"{wide} / {busy} of {len(classes)}",
        "test lines per test function": f"{test_lines / len(names):.0f}",
        "words in a test name, median / max": _words(names),
        "semicolons per 1,000 words of prose, worker": _share(re.compile(";"), worker),
        "semicolons per 1,000 words of prose, tests": _share(re.compile(";"), tests),
        "dialect per 1,000 words of prose, worker": _share(DIALECT, worker),
        "dialect per 1,000 words of prose, tests": _share(DIALECT, tests),
    }


def _modules(folder: Path) -> Sequence[Module]:
    sources = [path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))]
    return [Module(source, ast.parse(source)) for source in sources]


def _length(function: _Function) -> int:
    """Count the lines from `def` to the end, with the docstring and without decorators."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _attributes(node: ast.ClassDef) -> int:
    """Count annotated names of the class and names that its methods assign to self."""
    annotated = {
        item.target.id
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }
    assigned = {
        inner.attr
        for item in node.body
        if isinstance(item, _Function)
        for inner in ast.walk(item)
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store)
        if isinstance(inner.value, ast.Name) and inner.value.id == "self"
    }
    return len(annotated | assigned)


def _methods(node: ast.ClassDef) -> int:
    return sum(isinstance(item, _Function) for item in node.body)


def _percentile(values: Sequence[int], share: float) -> int:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _words(names: Sequence[str]) -> str:
    """Count the words of test names, `test` included."""
    counts = [len(name.split("_")) for name in names]
    return f"{median(counts):.0f} / {max(counts)}"


def _share(pattern: re.Pattern[str], modules: Sequence[Module]) -> str:
    words = sum(len(module.prose.split()) for module in modules)
    found = sum(len(pattern.findall(module.prose)) for module in modules)
    return f"{1_000 * found / max(1, words):.1f}"


def main(arguments: Sequence[str]) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.style.tails")
    parser.add_argument("--of", metavar="PATH", action="append", default=[], type=Path)
    print(table([ROOT, *parser.parse_args(arguments).of]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
