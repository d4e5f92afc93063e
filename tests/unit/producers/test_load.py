"""The load generator's options, checked before anything is sent."""

from pathlib import Path

import pytest

from producers import load
from producers.client import OrderPublisher


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("--rate", "nan", "is 'nan': use a finite number, 0 or more"),
        ("--rate", "-1", "is '-1': use a finite number, 0 or more"),
        ("--rate", "fast", "is 'fast': use a finite number, 0 or more"),
        ("--progress", "inf", "is 'inf': use a finite number, 0 or more"),
        ("--in-flight", "0", "is '0': use an integer, 1 or more"),
        ("--in-flight", "4e3", "is '4e3': use an integer, 1 or more"),
        ("--orders-partitions", "-2", "is '-2': use an integer, 1 or more"),
        ("--transfers-partitions", "0", "is '0': use an integer, 1 or more"),
        ("--report-json", "/nowhere/report", "is '/nowhere/report': No such file or directory"),
    ],
)
def test_wrong_option_is_refused_at_once(
    capsys: pytest.CaptureFixture[str], option: str, value: str, rule: str
) -> None:
    """A report that cannot be written used to fail after everything was published."""
    with pytest.raises(SystemExit) as end:
        load.run(["--bootstrap", "127.0.0.1:1", option, value])

    assert end.value.code == 2
    assert f"argument {option}: {rule}" in capsys.readouterr().err


def test_report_may_replace_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    report.write_text("{}", encoding="utf-8")
    monkeypatch.setattr(load, "_publish", _nothing)

    load.run(["--bootstrap", "127.0.0.1:1", "--report-json", str(report)])

    assert capsys.readouterr().err == ""


async def test_commands_in_flight_need_room() -> None:
    """Before, the publisher failed with IndexError after its first command."""
    with pytest.raises(ValueError, match="in_flight_max is 0: use 1 or more"):
        await OrderPublisher("127.0.0.1:1").publish_all([], in_flight_max=0)


async def _nothing(*_: object) -> None:
    """Publish nothing."""
