"""Extraction of the prose in a file: docstrings, comments, messages, Markdown paragraphs, names.

Nothing is imported or run. A text is one paragraph or one list item.
"""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final


class Kind(Enum):
    """A place where prose is found. It decides which rules apply."""

    DOCSTRING = "docstring"
    COMMENT = "comment"
    HELP = "help"
    PARAGRAPH = "paragraph"
    CELL = "table cell or heading"
    MESSAGE = "message"
    CONSTANT = "constant"
    TEST = "test name"


@dataclass(frozen=True, slots=True)
class Text:
    """One text and the lines it covers."""

    kind: Kind
    line: int
    end: int
    words: str
    is_opening: bool = False
    """Whether a docstring or a help begins with this text."""


ESCAPE: Final = "style: allow"
_ITEM: Final = re.compile(r"\s*(?:[*+-]|\d+[.)])\s+")
_DIRECTIVE: Final = re.compile(r"!|\s*(?:noqa|type:|pragma|fmt:|ruff:|mypy:)")
_ESCAPE: Final = re.compile(rf"(?:^|#|--)\s*{ESCAPE}.*")
_CODE: Final = re.compile(r"``.+?``|`[^`]+`", re.DOTALL)
_LINK: Final = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_ADDRESS: Final = re.compile(r"\b[a-z][a-z0-9+.-]*://\S*")
_HASH: Final = re.compile(r"(?:^|\s)(#+) ?(.*)")
_TARGET_HELP: Final = re.compile(r"[a-z-]+:.*?## (.*)")
_QUERY: Final = re.compile(
    r"\s*(?:[A-Z]{3,}\s+(?:[A-Z*(\"]|\w+\s+(?:SET|FROM|ADD|TO)\b)|WITH \w+ AS)"
)
_MESSAGE_WORDS_MIN: Final = 3
_CODE_INDENT: Final = 4


def is_read(path: Path) -> bool:
    """Return whether the linter looks for prose in this file."""
    return path.suffix in _READERS or path.name in _READERS


def texts(path: Path, source: str) -> list[Text]:
    """Return every text of the file in the order of its lines."""
    read = _READERS.get(path.suffix) or _READERS[path.name]
    return sorted(read(source), key=lambda text: text.line)


def plain(words: str) -> str:
    """Return ``words`` on one line. A code span or an address becomes X, a link its own text."""
    return " ".join(_ADDRESS.sub("X", _LINK.sub(r"\1", _CODE.sub("X", words))).split())


def _python(source: str) -> Iterator[Text]:
    tree = ast.parse(source)
    explaining = list(docstrings(tree))
    for node in explaining:
        for text in _paragraphs(Kind.DOCSTRING, node.lineno, str(node.value).splitlines()):
            yield replace(text, end=node.end_lineno or text.end)
    yield from _blocks(_python_comments(source))
    yield from _names(tree)
    yield from _messages(tree, {id(node) for node in explaining})


def docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    """Find all docstrings and the strings that explain the attribute above them."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            match statement:
                case ast.Expr(value=ast.Constant(value=str()) as docstring):
                    yield docstring
                case _:
                    pass


def _python_comments(source: str) -> Iterator[tuple[int, int, str]]:
    """Find comments by line and column; one that follows code has a negative column."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line, column = token.start
            follows_code = token.line[:column].strip() != ""
            yield line, -column if follows_code else column, token.string.lstrip("#")


def _names(tree: ast.Module) -> Iterator[Text]:
    """Find the names of tests and of constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("test_"):
                yield Text(Kind.TEST, node.lineno, node.lineno, node.name)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            name = node.id if isinstance(node, ast.Name) else node.attr
            if name.isupper():
                yield Text(Kind.CONSTANT, node.lineno, node.lineno, name)


def _messages(tree: ast.Module, passed_over: set[int]) -> Iterator[Text]:
    """Find the strings of several words: errors, logs, help. A query is none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            passed_over.update(id(value) for value in node.values)
            parts = (v.value if isinstance(v, ast.Constant) else "X" for v in node.values)
            words = "".join(str(part) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = "" if id(node) in passed_over else node.value
        else:
            continue
        if len(words.split()) >= _MESSAGE_WORDS_MIN and not _QUERY.match(words):
            yield Text(Kind.MESSAGE, node.lineno, node.end_lineno or node.lineno, plain(words))


def _sql(source: str) -> Iterator[Text]:
    comments = (
        (number, line.find("--") if line.lstrip().startswith("--") else -1, after)
        for number, line in enumerate(source.splitlines(), 1)
        for _, mark, after in [line.partition("--")]
        if mark
    )
    for text in _blocks(comments):
        is_header = text.line == 1
        kind = Kind.DOCSTRING if is_header else Kind.COMMENT
        yield replace(text, kind=kind, is_opening=is_header)


def _hashes(source: str) -> Iterator[Text]:
    """Find the comments and target helps of Makefiles, YAML, TOML and shell scripts."""
    lines = list(enumerate(source.splitlines(), 1))
    for number, line in lines:
        if found := _TARGET_HELP.match(line):
            yield Text(Kind.HELP, number, number, plain(found[1]), is_opening=True)
    comments = (
        (number, -1 if line[: found.start(1)].strip() else found.start(1), found[2])
        for number, line in lines
        if not _TARGET_HELP.match(line) and (found := _HASH.search(line))
    )
    yield from _blocks(comments)


def _yaml(source: str) -> Iterator[Text]:
    yield from _hashes(source)
    for number, line in enumerate(source.splitlines(), 1):
        if found := re.match(r"\s*Description: (\w.*)", line):
            yield Text(Kind.HELP, number, number, plain(found[1]), is_opening=True)


def _blocks(comments: Iterator[tuple[int, int, str]]) -> Iterator[Text]:
    """Join comments on consecutive lines at the same column, then split them into paragraphs."""
    block: list[str] = []
    first = column = 0
    for line, at, words in comments:
        prose = "" if _DIRECTIVE.match(words) else _ESCAPE.sub("", words).removeprefix(" ")
        if at < 0 or at != column or line != first + len(block):
            yield from _paragraphs(Kind.COMMENT, first, block)
            block, first, column = [], line, at
        block.append(prose)
    yield from _paragraphs(Kind.COMMENT, first, block)


def _paragraphs(kind: Kind, first: int, lines: Sequence[str]) -> Iterator[Text]:
    """Split at blank lines and at list items; pass over indented code."""
    base = min((_indent(line) for line in lines[1:] if line.strip()), default=0)
    start, words, is_code = 0, [""], False
    for at, line in enumerate([*lines, ""]):
        is_after_blank = at > 0 and not lines[at - 1].strip()
        is_code = (is_code or is_after_blank) and at > 0 and _indent(line) >= base + _CODE_INDENT
        if is_code or not line.strip() or _ITEM.match(line):
            if text := plain("\n".join(words)):
                is_opening = kind is Kind.DOCSTRING and start == 0
                yield Text(kind, first + start, first + max(start, at - 1), text, is_opening)
            start, words = at, []
        if line.strip() and not is_code:
            start = start if words else at
            words.append(_ITEM.sub("", line, count=1))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _markdown(source: str) -> Iterator[Text]:
    """Find paragraphs and list items, and each cell and heading as a text of its own."""
    lines = source.splitlines()
    prose = [""] * len(lines)
    fence = ""
    for at, line in enumerate(lines):
        stripped = line.lstrip("> ")
        mark = stripped[:3] if stripped.startswith(("```", "~~~")) else ""
        if mark and fence in ("", mark):
            fence = "" if fence else mark
        elif not fence and stripped.startswith(("|", "#")):
            for cell in stripped.strip("#| ").split("|"):
                yield Text(Kind.CELL, at + 1, at + 1, plain(cell))
        elif not fence and not stripped.startswith("<!--"):
            prose[at] = stripped if line.startswith(">") else line
    yield from _paragraphs(Kind.PARAGRAPH, 1, prose)


_READERS: Final[Mapping[str, Callable[[str], Iterator[Text]]]] = {
    ".py": _python,
    ".sql": _sql,
    ".md": _markdown,
    ".yaml": _yaml,
    ".toml": _hashes,
    ".in": _hashes,
    "Makefile": _hashes,
    "Dockerfile": _hashes,
    "run": _hashes,
}
