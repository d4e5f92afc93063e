"""All mutants."""

from collections.abc import Sequence
from typing import Final

from tests.mutants import code, edges, migrations, operators, policy, queries, rules, tables
from tests.mutants.mutant import Mutant

MUTANTS: Final[Sequence[Mutant]] = (
    *queries.MUTANTS,
    *tables.MUTANTS,
    *policy.MUTANTS,
    *code.MUTANTS,
    *rules.MUTANTS,
    *edges.MUTANTS,
    *migrations.MUTANTS,
    *operators.MUTANTS,
)
