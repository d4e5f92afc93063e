"""``python -m tests.composed_sql [NAME | --into FOLDER]``: the SQL as the database gets it.

Without a name, all statements; with a folder, each into a file there, for `dsql-lint`.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from worker.adapters.postgres import statements
from worker.adapters.postgres.steps import STEPS


def composed() -> Mapping[str, str]:
    """Return every statement by the name of its constant, or of its step."""
    texts = {
        name.lower(): text
        for name, text in vars(statements).items()
        if name.isupper() and isinstance(text, str)
    }
    return texts | {
        f"step_{number:02}": step.statement.text for number, step in enumerate(STEPS, 1)
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.composed_sql", description=__doc__)
    parser.add_argument("name", nargs="?", help="commit_batch, step_07, …")
    parser.add_argument("--into", type=Path, metavar="FOLDER", help="write files instead")
    given = parser.parse_args()
    texts = composed()
    chosen = {given.name: texts[given.name]} if given.name else texts
    for name, text in chosen.items():
        if given.into:
            given.into.mkdir(parents=True, exist_ok=True)
            (given.into / f"{name}.sql").write_text(f"{text.rstrip()};\n", encoding="utf-8")
        else:
            print(text if given.name else f"-- {name}\n{text}")


if __name__ == "__main__":
    main()
