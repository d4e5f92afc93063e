"""deploy/SETTINGS.md lists every setting as the code defines it."""

import re
from pathlib import Path

from worker import config

SETTINGS = Path(__file__).parents[2] / "deploy" / "SETTINGS.md"
ROW = re.compile(r"^\| `(PARITY_[A-Z_]+)` \|.*$", re.MULTILINE)


def test_settings_page_matches_code() -> None:
    listed = {row[1]: row[0] for row in ROW.finditer(SETTINGS.read_text(encoding="utf-8"))}
    defined = {row[1]: row[0] for row in ROW.finditer(config.table())}

    missing = [row for name, row in defined.items() if name not in listed]
    other = [row for name, row in defined.items() if name in listed and listed[name] != row]
    gone = [name for name in listed if name not in defined]

    assert (missing, other, gone) == ([], [], []), (
        "deploy/SETTINGS.md is not what the code defines:"
        f" missing {len(missing)}, different {len(other)}, gone {gone}."
        " Replace its table by the output of `python -m worker.config`:\n" + config.table()
    )
