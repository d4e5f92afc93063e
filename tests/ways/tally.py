"""A pytest plugin that counts batches and refusals per test file, and fails files without any."""

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
    """Add up the counts after the proxies of a test are closed."""
    yield
    _seen[item.location[0]] += dialect.tally()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:  # noqa: ANN401 - xdist has no types
    """Add the counts of a finished xdist process."""
    for file, counts in getattr(node, "workeroutput", {}).get(_KEY, {}).items():
        _seen[file] += Tally(**counts)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the counts to the main process, which fails the run if they are too low."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_KEY] = {file: asdict(tally) for file, tally in _seen.items()}
        return
    is_taken = _is_refused_enough() and not _strays()
    if not is_taken and not session.config.option.keyword and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts of each file."""
    terminalreporter.section("batches and refusals")
    for file, tally in (*sorted(_seen.items()), ("all", sum(_seen.values(), Tally()))):
        terminalreporter.line(f"{file:44} {_counts(tally)}")
    for file in _strays():
        text = f"{file} committed no batch this way: add it to LEFT_OUT with a reason"
        terminalreporter.line(text, red=True)


def _strays() -> list[str]:
    return sorted(file for file, tally in _seen.items() if not tally.batches)


def _is_refused_enough() -> bool:
    """Return whether every third commit was refused, if commits are to be refused."""
    total = sum(_seen.values(), Tally())
    return dialect.IN_STEPS or 3 * total.refused >= total.refused + total.commits


def _counts(tally: Tally) -> str:
    if dialect.IN_STEPS:
        return f"{tally.batches:7,} batches, all in steps"
    share = tally.refused / max(1, tally.refused + tally.commits)
    return (
        f"{tally.batches:7,} batches, {tally.commits:7,} commits, {tally.refused:7,} refused"
        f" ({share:.0%})"
    )
