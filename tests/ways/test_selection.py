"""The files that are left out exist and have a reason."""

from tests.ways.selection import LEFT_OUT, ROOT, files


def test_left_out_files_exist() -> None:
    assert [name for name in LEFT_OUT if not (ROOT / name).is_file()] == []
    assert all(LEFT_OUT.values())


def test_failures_go_every_way() -> None:
    assert "tests/integration/test_failures.py" in files()
