"""deploy/RUNBOOK.md says what to do about every alarm, and names every metric."""

import re
from pathlib import Path

from worker.telemetry import Metrics

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "deploy" / "RUNBOOK.md").read_text(encoding="utf-8")


def test_every_alarm_has_a_row() -> None:
    code = [path.read_text(encoding="utf-8") for path in (REPOSITORY / "worker").rglob("*.py")]
    alarms = set(re.findall(r'\.alarm\(\s*"([a-z_]+)"', "\n".join(code)))

    assert len(alarms) > 1
    assert [name for name in sorted(alarms) if f"alarm `{name}`" not in TEXT] == []


def test_runbook_names_exactly_the_metrics() -> None:
    existing = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in Metrics().registry.collect()
    }
    named = set(re.findall(r"parity_[a-z_]+[a-z]", TEXT))

    assert existing - named == set()
    assert {name.removesuffix("_bucket") for name in named} - existing == set()
