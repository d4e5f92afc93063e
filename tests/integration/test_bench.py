"""The bench runs, its three ways agree on trades and cash, and its JSON is complete."""

import json
from pathlib import Path

import pytest

from tests.support.programs import ran

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(400)]


def test_ways_of_the_bench_agree(tmp_path: Path) -> None:
    path = tmp_path / "build" / "bench.json"

    done = ran("tests.bench", "--quick", "--json", str(path), within_s=390)

    assert done.code == 0, done.err
    numbers = json.loads(path.read_text(encoding="utf-8"))
    keys = {"seed_way_per_s", "worker_per_s", "replay_per_s", "p50_ms", "p99_ms"}
    assert {flow: set(of) for flow, of in numbers.items()} == {"uniform": keys, "hot": keys}
    assert all(value > 0 for of in numbers.values() for value in of.values())
    for flow in numbers:
        assert f"{flow}: (a), (b) and (c) agree on" in done.err
    assert "(a) statements per order" in done.out
