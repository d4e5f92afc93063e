"""The commands that print costs and delays run, and their figures are plausible."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench import cost
from tests.support.programs import ran

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]


def test_cost_of_an_order_follows_the_formula(tmp_path: Path) -> None:
    costs = _run("cost", tmp_path, "--orders", "60")
    alone, *_, many, seed = costs

    # DSQL charges a minimum for each transaction and for each row.
    for each in costs:
        least_rows = each["rows"] * cost.ROW_BYTES_MIN
        least = max(least_rows, cost.TRANSACTION_BYTES_MIN / each["orders_per_transaction"])
        assert each["dpu"] >= least * cost.DPU_PER_BYTE * 0.99
        assert each["dpu"] >= each["dpu_without_entries"]
        assert each["transaction_rows_max"] <= 3_000
        assert each["transaction_bytes_max"] <= 10 * 1024 * 1024
    assert seed["orders_per_transaction"] == 1.0
    assert many["dpu"] < min(alone["dpu"], seed["dpu"])


def test_emulation_prints_its_measures(tmp_path: Path) -> None:
    found = _run("emulation", tmp_path, "--lanes", "1", "--seconds", "3")

    assert found["round_trip_ms"] >= 2.0
    assert found["commit_ms"] >= found["round_trip_ms"] + 10.0
    runs = {(run["flow"], run["way"]): run for run in found["runs"]}
    assert len(runs) == 6
    for flow in ("market maker", "adversary"):
        assert runs[flow, "this worker"]["orders_per_batch"] > 1
        assert runs[flow, "one order per transaction"]["orders_per_batch"] == 1
        assert all(run["orders_per_s"] > 0 for run in runs.values())


def _run(name: str, folder: Path, *arguments: str) -> Any:  # noqa: ANN401 - JSON
    path = folder / f"{name}.json"
    done = ran(f"tests.bench.{name}", "--json", str(path), *arguments, within_s=290)
    assert done.code == 0, done.err
    return json.loads(path.read_text(encoding="utf-8"))
