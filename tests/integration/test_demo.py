"""A small demo kills a worker, proves itself, and leaves no process."""

import json

import psutil
import pytest

from worker import demo

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(240)]

LINES = [
    "orders published",
    "commands + transfers answered once",
    "repeats / altered",
    "gaps in seq",
    "gaps in market_seq",
    "trade ledger sum",
    "cash before / after",
    "escrow",
    "positions not summing to 0",
    "negative balances",
    "fills: books / topic",
    "events: journal / topics",
    "gaps in the journal",
    "markets settled",
    "fills that pass a better or older maker",
    "batches planned again",
    "full audit",
    "orders rejected",
    "duplicates recognised",
    "draws",
    "sweeps deeper than a batch",
    "workers that committed",
    "worker killed at work",
]
SMALL = demo.Options(
    orders=1_500,
    markets=6,
    accounts=100,
    partitions=4,
    sweep=300,
    # Few rows per batch, so that the sweep needs several batches.
    batch_rows=600,
    json=True,
)


def test_small_demo_proves_itself(capsys: pytest.CaptureFixture[str]) -> None:
    before = set(psutil.Process().children())

    code = demo.run(SMALL)

    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert [line["name"] for line in result["proof"]] == LINES
    assert [line for line in result["proof"] if not line["ok"]] == [], captured.err
    assert (code, result["pass"]) == (0, True)
    assert set(psutil.Process().children()) <= before
