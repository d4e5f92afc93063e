"""The writing rules of CONTRIBUTING.md that a program can check."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from typing_extensions import override

from tests.style.texts import ESCAPE, Kind, Text, texts

OPENINGS: Final = (
    # Relatives and pronouns, then conjunctions, then prepositions.
    "what|who|whom|whose|whoever|whatever|which|that|this|these|those|it|they|there"
    "|and|but|or|nor|so|for"
    "|of|to|from|by|with|without|in|on|at|under|over"
)
"""Words that are neither a verb nor a noun, so no docstring begins with them."""
MARKS_MAX: Final = 1
"""Semicolons and colons in one text."""
TEST_WORDS_MAX: Final = 8
SUBJECT_CHARS_MAX: Final = 60
SHOWN_CHARS_MAX: Final = 160
PEOPLE: Final = (
    "anybody|anyone|customer|developer|engineer|everybody|everyone|nobody|one|operator|people"
    "|person|reader|somebody|someone|those|trader|user"
)
"""Nouns that may have a relative clause with "who"."""


class Word(NamedTuple):
    """A word that no text uses, and what to do about it."""

    pattern: re.Pattern[str]
    action: str


def _word(pattern: str, action: str) -> Word:
    return Word(re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-])", re.IGNORECASE), action)


_AFTER_NO_PERSON: Final = "".join(rf"(?<!\b{noun} )(?<!\b{noun}s )" for noun in PEOPLE.split("|"))
WORDS: Final[Sequence[Word]] = (
    _word("beside", 'write "next to" or "in addition to"'),
    _word("behind", 'write "after", "follows" or "lags"'),
    _word("anew", 'write "again"'),
    _word("for ever", 'write "without end", or name the bound'),
    _word("whoever|whom(?:ever)?", "name the person or the process"),
    _word(rf"{_AFTER_NO_PERSON}who", 'name the subject: "the worker that", "an operator who"'),
    _word("mend(?:s|ed|ing)?", 'write "fix" or "repair"'),
    _word("stands?|standing|stood", 'write "is", "must", "holds" or "stalls"'),
    _word("tells?|telling|told", 'write "report", "say", "show" or "distinguish"'),
    _word("lies?|lying|lain", 'write "is", or "false" of what is untrue'),
    _word("heed(?:s|ed|ing)?", 'write "obey", "follow" or "observe"'),
)
_CONSTANT: Final = re.compile(r"_AN?_")
_MARK: Final = re.compile(r"[;:](?=\s|$)")
_OPENING: Final = re.compile(rf"(?:{OPENINGS})\b", re.IGNORECASE)
_SPAN: Final = re.compile(r"`[^`]*`")
_MENTION: Final = re.compile(r'"[\w-]+"')
_ESCAPE: Final = re.compile(rf"(?:#|--)\s*{ESCAPE}\s*(.*?)(?:\s+because\s+(\S.*?))?\s*(?:-->)?\s*$")
_PROSE: Final = {Kind.DOCSTRING, Kind.COMMENT, Kind.HELP, Kind.PARAGRAPH}


@dataclass(frozen=True, slots=True)
class Finding:
    """One text that breaks one rule."""

    path: Path
    line: int
    rule: str
    subject: str
    """The word that an escape may allow."""
    words: str
    action: str

    @override
    def __str__(self) -> str:
        shown = self.words[:SHOWN_CHARS_MAX] + "…" * (len(self.words) > SHOWN_CHARS_MAX)
        return f'{self.path}:{self.line}: {self.rule}: "{shown}": {self.action}'


class Escape(NamedTuple):
    """A comment that allows one word, or one rule, in the text on its line.

    Alone on its line, the comment allows the same in the text that begins on the next.
    """

    line: int
    is_alone: bool
    allowed: str
    reason: str

    def covers(self, finding: Finding, text: Text) -> bool:
        is_near = text.line - self.is_alone <= self.line <= text.end
        return bool(self.reason) and is_near and self.allowed in (finding.subject, finding.rule)


def findings(path: Path, source: str) -> list[Finding]:
    """Return every broken rule that no escape allows, and every escape that is of no use."""
    escapes = list(_escapes(source))
    kept: list[Finding] = []
    used: set[Escape] = set()
    for text in texts(path, source):
        for finding in _broken(path, text):
            covering = [escape for escape in escapes if escape.covers(finding, text)]
            used.update(covering)
            kept += [] if covering else [finding]
    for escape in (escape for escape in escapes if escape not in used):
        action = "remove it, it allows nothing" if escape.reason else "give a reason: because …"
        kept.append(Finding(path, escape.line, "escape", "", escape.allowed, action))
    return sorted(kept, key=lambda finding: finding.line)


def long_subjects(commits: Sequence[tuple[str, str]]) -> list[str]:
    """Return a line for each commit, given as its id and its subject, whose subject is too long."""
    return [
        f'{commit}: subject: "{subject}": {len(subject)} characters, at most {SUBJECT_CHARS_MAX}'
        for commit, subject in commits
        if len(subject) > SUBJECT_CHARS_MAX
    ]


def _escapes(source: str) -> Iterator[Escape]:
    for number, line in enumerate(source.splitlines(), 1):
        if found := _ESCAPE.search(_SPAN.sub("X", line)):
            is_alone = found.string[: found.start()].strip() in ("", "<!")
            yield Escape(number, is_alone, found[1].lower(), found[2] or "")


def _broken(path: Path, text: Text) -> Iterator[Finding]:
    for rule, subject, action in (*_opening(text), *_marks(text), *_words(text), *_name(text)):
        yield Finding(path, text.line, rule, subject.lower(), text.words, action)


def _opening(text: Text) -> Iterator[tuple[str, str, str]]:
    if text.is_opening and (first := _OPENING.match(text.words)):
        yield "rule 1", first[0], f'begin with a verb or a noun, not with "{first[0]}"'


def _marks(text: Text) -> Iterator[tuple[str, str, str]]:
    count = len(_MARK.findall(text.words))
    if text.kind in _PROSE and count > MARKS_MAX:
        yield "rule 2", "", f"{count} semicolons and colons: make it {count} sentences"


def _words(text: Text) -> Iterator[tuple[str, str, str]]:
    words = text.words.replace("_", " ") if text.kind is Kind.TEST else text.words
    words = _MENTION.sub("X", words)
    for word in WORDS if text.kind is not Kind.CONSTANT else ():
        if found := word.pattern.search(words):
            yield "rule 4", found[0], f'not "{found[0]}": {word.action}'


def _name(text: Text) -> Iterator[tuple[str, str, str]]:
    if text.kind is Kind.CONSTANT and _CONSTANT.search(text.words):
        yield "rule 4", "", "write PER, as in ROWS_PER_FILL"
    count = len(text.words.split("_")) - 1
    if text.kind is Kind.TEST and count > TEST_WORDS_MAX:
        action = f"{count} words after test_, at most {TEST_WORDS_MAX}: the rest is its docstring"
        yield "rule 6", "", action
