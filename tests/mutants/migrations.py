"""Broken migrations, in their view of progress, refusals, waiting and the ledger."""

from typing import Final

from tests.mutants.mutant import Mutant, mutant, tests

CHANGES: Final = "worker/adapters/postgres/changes.py"
MIGRATE: Final = "worker/adapters/postgres/migrate.py"
SCHEMA: Final = "worker/adapters/postgres/schema"
SQL: Final = "worker/adapters/postgres/sql"
PURE: Final = "tests/unit/test_changes.py"
REAL: Final = "tests/integration/test_migrate.py"
TEXTS: Final = "tests/unit/test_sql.py"

DONE: Final = (
    mutant(
        "count a column as present once its table is",
        CHANGES,
        'self.kind is Kind.COLUMN and found["has_default"] is not None',
        'self.kind is Kind.COLUMN and found["relation"] is not None',
        tests(f"{PURE}::test_presence_requires_the_declared_kind"),
    ),
    mutant(
        "count a default as present once its column is",
        CHANGES,
        'self.kind is Kind.DEFAULT and found["has_default"]',
        'self.kind is Kind.DEFAULT and found["has_default"] is not None',
        tests(f"{PURE}::test_presence_requires_the_declared_kind"),
    ),
    mutant(
        "count a constraint as validated once it is present",
        CHANGES,
        'Presence.PRESENT if found["validated"] else Presence.UNCHECKED',
        "Presence.PRESENT",
        tests(f"{PURE}::test_presence_requires_the_declared_kind"),
    ),
    mutant(
        "count an index as built once it is present",
        CHANGES,
        'Presence.UNUSABLE if found["usable"] is False else Presence.PRESENT',
        "Presence.PRESENT",
        tests(f"{PURE}::test_presence_requires_the_declared_kind"),
    ),
    mutant(
        "take a view for a table",
        CHANGES,
        'if found["relation"] != _RELATION_KINDS[self.kind]:',
        'if found["relation"] is None:',
        tests(f"{PURE}::test_presence_requires_the_declared_kind"),
    ),
    mutant(
        "search the catalogs of all schemas",
        CHANGES,
        " WHERE n.nspname = current_schema() AND c.relname",
        " WHERE c.relname",
        tests(f"{REAL}::test_thing_of_another_schema_counts_for_nothing"),
    ),
    mutant(
        "count a drop as done before it is",
        MIGRATE,
        "Progress.DONE if presence is Presence.ABSENT else Progress.UNDONE",
        "Progress.DONE",
        tests(f"{REAL}::test_every_kind_of_change_is_applied_once[postgresql]"),
    ),
    mutant(
        "miss an object that a later file dropped",
        MIGRATE,
        'Progress.DONE if row["undone"] else await self._progress(migration, row)',
        "await self._progress(migration, row)",
        tests(f"{REAL}::test_every_kind_of_change_is_applied_once[postgresql]"),
    ),
    mutant(
        "miss the columns and indexes of a dropped table",
        CHANGES,
        "        if self.kind in _WITHOUT_TABLE and other.table == self.name:\n"
        "            return True\n",
        "",
        tests(f"{PURE}::test_drop_undoes_what_it_names"),
    ),
)

REFUSED: Final = (
    mutant(
        "apply a file that was changed after it was started",
        CHANGES,
        "    if note.checksum != migration.checksum:",
        "    if not note.checksum:",
        tests(f"{PURE}::test_unexpected_state_is_left_to_the_operator"),
    ),
    mutant(
        "adopt an object that no migration made",
        CHANGES,
        "if change.verb is Verb.CREATES and progress is not Progress.UNDONE:",
        "if change.verb is Verb.CREATES and progress is Progress.BROKEN:",
        tests(f"{PURE}::test_unexpected_state_is_left_to_the_operator"),
    ),
    mutant(
        "recreate an applied object that is gone",
        CHANGES,
        "    if note.state == APPLIED and not change.only_reads:",
        "    if note.state == APPLIED and change.verb is Verb.DROPS:",
        tests(f"{PURE}::test_unexpected_state_is_left_to_the_operator"),
    ),
    mutant(
        "refuse to rebuild a lost index",
        CHANGES,
        "return builds or self.verb is Verb.VALIDATES",
        "return self.verb is Verb.VALIDATES",
        tests(f"{PURE}::test_action_follows_from_note_and_progress"),
    ),
    mutant(
        "accept two declarations in a file",
        CHANGES,
        "        if len(declared) == 1:",
        "        if declared:",
        tests(f"{PURE}::test_unreadable_declaration_is_refused"),
    ),
    mutant(
        "repeat a refused statement 99 times",
        MIGRATE,
        "OVERTAKEN_MAX: Final = 3",
        "OVERTAKEN_MAX: Final = 99",
        tests(f"{REAL}::test_repeated_refusal_is_reported"),
    ),
    mutant(
        "declare another column than the file adds",
        f"{SCHEMA}/0016_batches_rules.sql",
        "-- creates: column batches.rules",
        "-- creates: column batches.rule",
        tests(f"{TEXTS}::test_declaration_says_what_the_statement_does[0016_batches_rules.sql]"),
    ),
    mutant(
        "create a constraint under a dropped name",
        f"{SCHEMA}/0021_orders_terms.sql",
        "ADD CONSTRAINT orders_terms",
        "ADD CONSTRAINT orders_side",
        tests(f"{TEXTS}::test_declaration_says_what_the_statement_does[0021_orders_terms.sql]"),
    ),
)

WAITING: Final = (
    mutant(
        "run two migrators at once on PostgreSQL",
        MIGRATE,
        '            if row["alone"]:\n                return',
        "            if row:\n                return",
        tests(f"{REAL}::test_waiting_for_another_migrator_is_bounded"),
    ),
    mutant(
        "wait for a busy table without a lock timeout",
        MIGRATE,
        '    "lock_timeout": "1s",\n',
        "",
        tests(f"{REAL}::test_waiting_for_a_busy_table_is_bounded"),
    ),
    mutant(
        "give up after a lost race",
        MIGRATE,
        "return isinstance(error, Conflict) or (",
        "return bool(",
        tests(f"{REAL}::test_lost_races_only_take_time"),
    ),
    mutant(
        "send PostgreSQL a validation with ASYNC",
        MIGRATE,
        'r"\\b(INDEX|TABLE) ASYNC\\b"',
        'r"\\b(INDEX) ASYNC\\b"',
        tests(f"{REAL}::test_every_kind_of_change_is_applied_once[postgresql]"),
    ),
    mutant(
        "start a running validation again",
        MIGRATE,
        "return Progress.RUNNING if at_work else Progress.UNDONE",
        "return Progress.UNDONE",
        tests(f"{REAL}::test_interrupted_wait_does_not_repeat_the_job"),
    ),
    mutant(
        "drop an index that is being built",
        MIGRATE,
        "            return Progress.RUNNING\n        details",
        "            return Progress.BROKEN\n        details",
        tests(f"{REAL}::test_waiting_for_a_job_is_bounded"),
    ),
    mutant(
        "repeat a failed validation",
        MIGRATE,
        'if job["job_id"] == self._job and job["status"] not in',
        'if job["job_id"] == "" and job["status"] not in',
        tests(f"{REAL}::test_failed_validation_is_named_until_corrected"),
    ),
    mutant(
        "stop at a validation that failed in an earlier run",
        MIGRATE,
        'if job["job_id"] == self._job and job["status"] not in',
        'if job["status"] not in',
        tests(f"{REAL}::test_failed_validation_is_named_until_corrected"),
    ),
)

LEDGER: Final = (
    mutant(
        "leave the kind out of the ledger's key",
        f"{SCHEMA}/0019_postings.sql",
        "PRIMARY KEY (cause, account, lane, market, kind)",
        "PRIMARY KEY (cause, account, lane, market)",
        tests("tests/integration/test_schema.py::test_schema_leaves_room_for_new_numbers"),
    ),
    mutant(
        "leave the old ledger out of the view",
        f"{SCHEMA}/0020_all_postings.sql",
        "\nUNION ALL\nSELECT cause, account, lane, market, kind, amount FROM ledger",
        "",
        tests("tests/integration/test_upgrade.py::test_filled_database_is_migrated_and_audited"),
    ),
    mutant(
        "skip postings of another kind between two pages of an audit",
        f"{SQL}/audit_ledger.sql",
        "WHERE (cause, account, lane, market, kind) > ($1, $2, $3, $4, $5)",
        "WHERE (cause, account, lane, market) > ($1, $2, $3, $4) AND $5 = $5",
        tests("tests/integration/test_audit.py::test_page_ends_between_postings_of_two_kinds"),
    ),
    mutant(
        "record batches of old workers under rules 2",
        f"{SCHEMA}/0017_batches_rules_default.sql",
        "SET DEFAULT 1",
        "SET DEFAULT 2",
        tests("tests/integration/test_schema.py::test_batch_without_rules_is_of_the_first"),
    ),
    mutant(
        "accept a batch without rules",
        f"{SCHEMA}/0018_batches_rules_stated.sql",
        "rules IS NOT NULL AND rules >= 1",
        "rules >= 1",
        tests(
            "tests/integration/test_schema.py::test_constraint_refuses_a_wrong_row"
            "[batches_rules_stated]"
        ),
    ),
    mutant(
        "refuse a time in force added later",
        f"{SCHEMA}/0021_orders_terms.sql",
        "time_in_force >= 1",
        "time_in_force IN (1, 2)",
        tests("tests/integration/test_schema.py::test_schema_leaves_room_for_new_numbers"),
    ),
    mutant(
        "refuse a market state added later",
        f"{SCHEMA}/0024_markets_lifecycle.sql",
        "status >= 1 AND",
        "status BETWEEN 1 AND 4 AND",
        tests("tests/integration/test_schema.py::test_schema_leaves_room_for_new_numbers"),
    ),
)

MUTANTS: Final[tuple[Mutant, ...]] = (*DONE, *REFUSED, *WAITING, *LEDGER)
