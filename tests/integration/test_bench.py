"""The bench runs, its three ways agree on trades and cash, and its numbers have their shape."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]


def test_the_bench_runs_and_its_ways_agree(tmp_path: Path) -> None:
    path = tmp_path / "build" / "bench.json"

    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--quick", "--json", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=390,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    numbers = json.loads(path.read_text(encoding="utf-8"))
    keys = {"seed_way_per_s", "worker_per_s", "replay_per_s", "p50_ms", "p99_ms"}
    assert {flow: set(of) for flow, of in numbers.items()} == {"uniform": keys, "hot": keys}
    assert all(value > 0 for of in numbers.values() for value in of.values())
    for flow in numbers:
        assert f"{flow}: (a), (b) and (c) agree on" in done.stderr
    assert "(a) statements per order" in done.stdout
