"""README.md's table of settings is the code's."""

import re
from pathlib import Path

from worker import config

README = Path(__file__).parents[2] / "README.md"
ROW = re.compile(r"^\| `(PARITY_[A-Z_]+)` \|.*$", re.MULTILINE)


def test_the_readme_lists_every_setting_as_it_is() -> None:
    told = {row[1]: row[0] for row in ROW.finditer(_readme())}
    is_so = {row[1]: row[0] for row in ROW.finditer(config.table())}

    missing = [row for name, row in is_so.items() if name not in told]
    other = [row for name, row in is_so.items() if name in told and told[name] != row]
    gone = [name for name in told if name not in is_so]

    assert (missing, other, gone) == ([], [], []), (
        "README.md's table of settings is not the code's:"
        f" missing {len(missing)}, different {len(other)}, gone {gone}."
        " Replace it by the output of `python -m worker.config`:\n" + config.table()
    )


def _readme() -> str:
    return README.read_text(encoding="utf-8") if README.exists() else ""
