"""A plugin of pytest: counts what each file of tests took of its way, and fails who took none."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

import pytest

from tests.support import dialect
from tests.support.dialect import Tally

_KEY: Final = "parity_way"
_seen: Final[dict[str, Tally]] = defaultdict(Tally)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Count when the lines of a test are down."""
    yield
    _seen[item.location[0]] += dialect.tally()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:  # noqa: ANN401 - xdist has no types
    """Take over what a process of tests has counted."""
    for file, counts in getattr(node, "workeroutput", {}).get(_KEY, {}).items():
        _seen[file] += Tally(**counts)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand on what was counted, or judge it."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_KEY] = {file: asdict(tally) for file, tally in _seen.items()}
        return
    is_taken = _is_refused_enough() and not _strays()
    if not is_taken and not session.config.option.keyword and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print it, file by file."""
    terminalreporter.section("the way that was taken")
    for file, tally in (*sorted(_seen.items()), ("all", sum(_seen.values(), Tally()))):
        terminalreporter.line(f"{file:44} {_told(tally)}")
    for file in _strays():
        terminalreporter.line(f"{file} did not take it: leave it out, and say why", red=True)


def _strays() -> list[str]:
    return sorted(file for file, tally in _seen.items() if not tally.batches)


def _is_refused_enough() -> bool:
    """Whether every third commit was refused, where that is the way."""
    total = sum(_seen.values(), Tally())
    return dialect.IN_STEPS or 3 * total.refused >= total.refused + total.commits


def _told(tally: Tally) -> str:
    if dialect.IN_STEPS:
        return f"{tally.batches:7,} batches, all in steps"
    share = tally.refused / max(1, tally.refused + tally.commits)
    return (
        f"{tally.batches:7,} batches, {tally.commits:7,} commits, {tally.refused:7,} refused"
        f" ({share:.0%})"
    )
