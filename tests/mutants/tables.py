"""Every CHECK and every primary key of the schema, left out one by one.

Each must be missed by a wrong batch that it alone refuses, as ``test_guards.py`` says, or by a test
named here. A new constraint that nobody would miss fails ``test_mutants.py``.
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
    return tests(f"tests/integration/test_schema.py::test_a_row_is_refused_by[{constraint}]")


MISSED_BY: Final[dict[str, Killer]] = {
    "positions_pkey": contract("test_pockets_and_positions_are_read_as_they_were_committed"),
}
"""What no wrong batch of ``test_guards.py`` meets."""


def _guards() -> Iterator[tuple[str, Killer]]:
    """Yield each constraint that a wrong batch is refused by, and that wrong batch."""
    for group, test in GROUPS.items():
        for wrong in getattr(test_guards, group):
            assert isinstance(wrong, Wrong)
            yield wrong.refused_by, case(test, wrong.what)


def _mutants() -> Iterator[Mutant]:
    missed_by = dict([*_guards()][::-1]) | MISSED_BY
    for path in sorted((ROOT / SCHEMA).glob("*.sql")):
        text = path.read_text(encoding="utf-8")
        for line in re.findall(r",\n    CONSTRAINT .*?(?=,?\n)", text):
            constraint = line.split()[2]
            yield mutant(
                f"without {constraint}",
                f"{SCHEMA}/{path.name}",
                line,
                "",
                missed_by.get(constraint) or _alone(constraint),
            )


MUTANTS: Final = tuple(_mutants())
