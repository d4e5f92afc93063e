"""The stress test on its own servers, and on servers without topics."""

import re

import psutil
import pytest

from tests.conftest import PostgresServer
from worker import stress
from worker.embedded import EmbeddedKafka

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_books_hold_under_conflicting_orders(capsys: pytest.CaptureFixture[str]) -> None:
    before = set(psutil.Process().children())

    code = stress.run(stress.Options(orders=216, markets=3, embedded=True))

    captured = capsys.readouterr()
    cash = re.search(r"before/after: (\d+) /", captured.out)
    assert cash is not None, captured.err
    assert captured.out.splitlines() == [
        "=== consistency proof ===",
        "orders fired: 216",
        "trade ledger sum: 0 (must be 0)",
        f"cash before/after: {cash[1]} / {cash[1]} (must be equal)",
        "negative balances: 0 (must be 0)",
        "PASS",
    ]
    assert int(cash[1]) > 0
    assert code == 0
    assert set(psutil.Process().children()) <= before


def test_missing_topics_are_named(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    postgres_server: PostgresServer,
    kafka_server: EmbeddedKafka,
) -> None:
    monkeypatch.setenv("PARITY_DATABASE_URL", postgres_server.url)
    monkeypatch.setenv("PARITY_BOOTSTRAP_SERVERS", kafka_server.bootstrap)
    monkeypatch.setenv("PARITY_ORDERS_TOPIC", "nobody.made.this")

    assert stress.run() == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "nobody.made.this" in captured.err
