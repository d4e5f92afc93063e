"""The response of a server to one check of ``worker.doctor``: a verdict and its reason."""

from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """The meaning of a response for the worker."""

    OK = "ok"
    NOTE = "note"
    """The check passed, but an operator should know the text."""
    MISSING = "MISSING"
    """The worker needs this."""
    NOT_TRIED = "not tried"


class Response(NamedTuple):
    """The result of a check."""

    verdict: Verdict
    text: str


def ok(text: str) -> Response:
    return Response(Verdict.OK, text)


def note(text: str) -> Response:
    return Response(Verdict.NOTE, text)


def missing(text: str) -> Response:
    return Response(Verdict.MISSING, text)


def not_tried(text: str) -> Response:
    return Response(Verdict.NOT_TRIED, text)
