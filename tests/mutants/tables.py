"""The schema without one of its CHECKs or primary keys, for each of them.

A wrong batch of ``test_guards.py`` that only this constraint refuses must then be committed, or a
test named here must fail. A new constraint without a mutant fails ``test_mutants.py``.
"""

import re
from collections.abc import Iterator
from typing import Final

from tests.integration import test_guards
from tests.integration.test_guards import Wrong
from tests.mutants import queries
from tests.mutants.laboratory import ROOT
from tests.mutants.mutant import Killer, Mutant, case, contract, mutant, tests

SCHEMA: Final = "worker/adapters/postgres/schema"
GROUPS: Final = {
    "FENCE": queries.FENCE,
    "POCKETS": queries.POCKETS,
    "TRADES": queries.TRADES,
    "RESOLUTION": queries.RESOLUTION,
    "TRANSFERS": queries.TRANSFERS,
    "ORDERS": queries.ORDERS,
}


def _alone(constraint: str) -> Killer:
    return tests(
        f"tests/integration/test_schema.py::test_constraint_refuses_a_wrong_row[{constraint}]"
    )


MISSED_BY: Final[dict[str, Killer]] = {
    "positions_pkey": contract("test_pockets_and_positions_are_read_as_committed"),
}
"""Killers of constraints that no wrong batch of ``test_guards.py`` violates."""


def _guards() -> Iterator[tuple[str, Killer]]:
    """Yield each constraint that refuses a wrong batch, with the test of that batch."""
    for group, test in GROUPS.items():
        for wrong in getattr(test_guards, group):
            assert isinstance(wrong, Wrong)
            yield wrong.refused_by, case(test, wrong.what)


def constraints() -> Iterator[tuple[str, str, str, str]]:
    """Yield each constraint that no later file drops, with its file, text and replacement."""
    files = {
        f"{SCHEMA}/{path.name}": path.read_text(encoding="utf-8")
        for path in sorted((ROOT / SCHEMA).glob("*.sql"))
    }
    dropped = re.findall(r"(?m)^-- drops: constraint \w+\.(\w+)$", "".join(files.values()))
    for path, text in files.items():
        in_table = re.findall(r",\n    CONSTRAINT .*?(?=,?\n)", text)
        found = [(line.split()[2], line, "") for line in in_table]
        for name, check in re.findall(r"ADD CONSTRAINT (\w+) (CHECK \(.*\)) NOT VALID", text):
            found.append((name, check, "CHECK (true)"))
        yield from ((name, path, old, new) for name, old, new in found if name not in dropped)


def _mutants() -> Iterator[Mutant]:
    missed_by = dict([*_guards()][::-1]) | MISSED_BY
    for constraint, path, old, new in constraints():
        killer = missed_by.get(constraint) or _alone(constraint)
        yield mutant(f"without {constraint}", path, old, new, killer)


MUTANTS: Final = tuple(_mutants())
