"""What a probe of a server found, in words for people. See ``worker.doctor``."""

from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """What an answer means for the worker."""

    OK = "ok"
    NOTE = "note"
    """It works, but somebody should know."""
    MISSING = "MISSING"
    """The worker needs it."""
    NOT_TRIED = "not tried"


class Answer(NamedTuple):
    """What came back."""

    verdict: Verdict
    text: str


def ok(text: str) -> Answer:
    return Answer(Verdict.OK, text)


def note(text: str) -> Answer:
    return Answer(Verdict.NOTE, text)


def missing(text: str) -> Answer:
    return Answer(Verdict.MISSING, text)


def not_tried(text: str) -> Answer:
    return Answer(Verdict.NOT_TRIED, text)
