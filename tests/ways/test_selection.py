"""What goes no other way is there, and says why."""

from tests.ways.selection import LEFT_OUT, ROOT, files


def test_only_what_is_there_is_left_out() -> None:
    assert [name for name in LEFT_OUT if not (ROOT / name).is_file()] == []
    assert all(LEFT_OUT.values())


def test_the_failures_go_every_way() -> None:
    assert "tests/integration/test_failures.py" in files()
