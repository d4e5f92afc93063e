"""Migrations: cut off at every step, two at once, changed files, indexes built beside us."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
import pytest

from tests.support.books import ORDERS, TIMEOUT_S, opened
from tests.support.dsql_ddl import Cluster, DsqlSession
from worker.adapters.postgres import migrate as module
from worker.adapters.postgres.migrate import (
    ATTEMPTS_MAX,
    DSQL,
    POSTGRESQL,
    Dialect,
    Migration,
    Migrator,
    Note,
    Run,
    Step,
    Thing,
    foreseen,
    migrate,
    migrations,
    next_step,
)
from worker.errors import OutcomeUnknown, ParityError, Unfit
from worker.ports import System

pytestmark = pytest.mark.integration

EVERY = migrations()
NAMES = [migration.name for migration in EVERY]
A_TABLE, AN_INDEX, A_VIEW = EVERY[5], EVERY[6], EVERY[14]
SEVERAL = [EVERY[4], A_TABLE, AN_INDEX]
"""A table, another one, and an index on it."""


@dataclass
class Pauses:
    """Pauses that take no time, counted."""

    seconds: float = 0.0

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0)

    def system(self) -> System:
        return System(lambda: self.seconds, self.sleep, random.Random(1))


@dataclass
class Line:
    """Runs statements until it breaks, before or after one of them; then the session is gone."""

    connection: "asyncpg.Connection[asyncpg.Record]"
    answer: Run
    breaks_at: int
    after: bool
    ran: list[str] = field(default_factory=list)

    async def run(self, sql: str, *arguments: object) -> Sequence[Any]:
        breaks = len(self.ran) == self.breaks_at
        self.ran.append(sql)
        if breaks and not self.after:
            self._break()
        try:
            return await self.answer(sql, *arguments)
        finally:
            if breaks:
                self._break()

    def _break(self) -> None:
        self.connection.terminate()
        raise asyncpg.ConnectionDoesNotExistError("the line broke")


@asynccontextmanager
async def _connection(url: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        connection.terminate()


@asynccontextmanager
async def _session(url: str, cluster: Cluster) -> AsyncIterator[DsqlSession]:
    async with _connection(url) as connection:
        session = DsqlSession(cluster, connection)
        await session.prepare()
        yield session


def _migrator(run: Run, dialect: Dialect = POSTGRESQL, pauses: Pauses | None = None) -> Migrator:
    return Migrator(run, dialect, (pauses or Pauses()).system())


async def _notes(url: str) -> list[tuple[object, ...]]:
    async with _connection(url) as connection:
        sql = "SELECT number, checksum, state FROM migrations ORDER BY number"
        return [tuple(row) for row in await connection.fetch(sql)]


def _applied(every: Sequence[Migration]) -> list[tuple[object, ...]]:
    return [(m.number, m.checksum, "APPLIED") for m in every]


async def _unusable(url: str) -> list[str]:
    async with _connection(url) as connection:
        sql = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
        return [row[0] for row in await connection.fetch(sql)]


# What a look tells to do.


@pytest.mark.parametrize(
    ("migration", "note", "thing", "step"),
    [
        (A_TABLE, None, Thing.MISSING, Step.NOTE),
        (A_TABLE, "STARTED", Thing.MISSING, Step.CREATE),
        (A_TABLE, "STARTED", Thing.READY, Step.MARK),
        (A_TABLE, "APPLIED", Thing.READY, Step.NOTHING),
        (AN_INDEX, "STARTED", Thing.BUILDING, Step.WAIT),
        (AN_INDEX, "STARTED", Thing.BROKEN, Step.DROP),
        (AN_INDEX, "STARTED", Thing.READY, Step.MARK),
        (AN_INDEX, "APPLIED", Thing.MISSING, Step.CREATE),
        (AN_INDEX, "APPLIED", Thing.BROKEN, Step.DROP),
        (AN_INDEX, "APPLIED", Thing.BUILDING, Step.WAIT),
    ],
)
def test_the_next_step_follows_from_the_note_and_what_is_there(
    migration: Migration, note: str | None, thing: Thing, step: Step
) -> None:
    noted = None if note is None else Note(migration.checksum, note)
    assert next_step(migration, noted, thing) is step


@pytest.mark.parametrize(
    ("note", "thing", "told"),
    [
        (None, Thing.READY, "'markets' that no migration made"),
        (Note("0" * 64, "STARTED"), Thing.MISSING, "was changed after it was started"),
        (Note("0" * 64, "APPLIED"), Thing.READY, "was changed after it was applied"),
        (Note(A_TABLE.checksum, "APPLIED"), Thing.MISSING, "'markets' is gone"),
    ],
)
def test_what_only_an_operator_can_decide_is_refused(
    note: Note | None, thing: Thing, told: str
) -> None:
    with pytest.raises(ParityError, match=told):
        next_step(A_TABLE, note, thing)


def test_a_checksum_is_of_the_file_as_it_is() -> None:
    one = Migration(1, "0001_a.sql", "SELECT 1")
    assert one.checksum != replace(one, sql="SELECT 1 ").checksum


# On PostgreSQL.


async def test_migrations_run_in_order_and_once(empty_database_url: str) -> None:
    assert await migrate(empty_database_url, timeout_s=TIMEOUT_S) == NAMES
    assert await migrate(empty_database_url, timeout_s=TIMEOUT_S) == []
    assert await _notes(empty_database_url) == _applied(EVERY)


@pytest.mark.parametrize("applied", [0, 1, 6, 7, 14, 15])
async def test_migrations_go_on_after_those_that_were_applied(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch, applied: int
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(module, "migrations", lambda: EVERY[:applied])
        await migrate(empty_database_url, timeout_s=TIMEOUT_S)
    assert await migrate(empty_database_url, timeout_s=TIMEOUT_S) == NAMES[applied:]
    async with opened(empty_database_url) as books:
        assert (await books.rows("SELECT stream FROM streams WHERE first_lane = 0")) == [(ORDERS,)]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("dialect", [POSTGRESQL, DSQL], ids=["postgresql", "dsql_ddl"])
async def test_a_line_that_breaks_at_any_statement_costs_nothing_but_another_run(
    empty_database_url: str, dialect: Dialect, after: bool
) -> None:
    """Also between a DDL and the note of it. Each round breaks one statement later."""
    broken = 0
    while True:
        cluster = Cluster()
        async with _session(empty_database_url, cluster) as session:
            connection = session.connection
            answer: Run = session.run if dialect is DSQL else connection.fetch
            line = Line(connection, answer, breaks_at=broken, after=after)
            try:
                await _migrator(line.run, dialect).run(SEVERAL)
                break
            except OutcomeUnknown:
                broken += 1
        async with _session(empty_database_url, cluster) as session:
            answer = session.run if dialect is DSQL else session.connection.fetch
            await _migrator(answer, dialect).run(SEVERAL)
            assert await _notes(empty_database_url) == _applied(SEVERAL)
            assert await _unusable(empty_database_url) == []
            await session.connection.execute("DROP TABLE markets, pockets, migrations, sys.jobs")
    assert len(line.ran) == broken
    assert broken > 4 * len(SEVERAL), "every step of every file was cut off"


async def test_a_migration_that_fails_stops_those_after_it(empty_database_url: str) -> None:
    broken = [*EVERY[:5], replace(EVERY[5], sql="CREATE TABLE markets (oops"), *EVERY[6:]]
    async with _connection(empty_database_url) as connection:
        with pytest.raises(Unfit):
            await _migrator(connection.fetch).run(broken)
        assert (await _notes(empty_database_url))[5:] == [(6, broken[5].checksum, "STARTED")]


async def test_a_file_that_changed_after_it_was_applied_is_refused(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(empty_database_url, timeout_s=TIMEOUT_S)
    changed = [replace(m, sql=m.sql + "-- 2") if m.number == 5 else m for m in EVERY]
    monkeypatch.setattr(module, "migrations", lambda: changed)
    for call in (migrate, foreseen):
        with pytest.raises(ParityError, match=r"0005_pockets\.sql was changed"):
            await call(empty_database_url, timeout_s=TIMEOUT_S)


async def test_a_table_that_no_migration_made_is_not_taken_for_ours(
    empty_database_url: str,
) -> None:
    async with _connection(empty_database_url) as connection:
        await connection.execute("CREATE TABLE lanes (of_a_bowling_alley integer)")
        with pytest.raises(ParityError, match="'lanes' that no migration made"):
            await migrate(empty_database_url, timeout_s=TIMEOUT_S)
        assert await connection.fetchval("SELECT count(*) FROM lanes") == 0


async def test_an_index_that_was_lost_or_spoilt_is_made_again(empty_database_url: str) -> None:
    await migrate(empty_database_url, timeout_s=TIMEOUT_S)
    async with _connection(empty_database_url) as connection:
        await connection.execute("DROP INDEX markets_unsettled")
        await connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'orders_open'::regclass"
        )
    assert await migrate(empty_database_url, timeout_s=TIMEOUT_S) == [
        "0007_markets_unsettled.sql",
        "0010_orders_open.sql",
    ]
    assert await _unusable(empty_database_url) == []


async def test_migrators_at_once_all_find_the_whole_schema(empty_database_url: str) -> None:
    done = await asyncio.gather(
        *[migrate(empty_database_url, timeout_s=TIMEOUT_S) for _ in range(4)]
    )
    assert {name for names in done for name in names} == set(NAMES)
    assert await _notes(empty_database_url) == _applied(EVERY)
    assert await migrate(empty_database_url, timeout_s=TIMEOUT_S) == []


async def test_a_dry_run_tells_and_changes_nothing(empty_database_url: str) -> None:
    told = await foreseen(empty_database_url, timeout_s=TIMEOUT_S)
    assert [(m.name, step) for m, step in told] == [(name, Step.NOTE) for name in NAMES]
    async with _connection(empty_database_url) as connection:
        assert (
            await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname='public'")
            == 0
        )
        await _migrator(connection.fetch).run(EVERY[:6])
        await connection.execute("UPDATE migrations SET state = 'STARTED' WHERE number = 6")
    told = await foreseen(empty_database_url, timeout_s=TIMEOUT_S)
    assert [(m.number, step) for m, step in told] == [
        (6, Step.MARK),
        *[(number, Step.NOTE) for number in range(7, len(EVERY) + 1)],
    ]


def test_every_file_has_a_title_that_says_what_it_makes() -> None:
    assert [(m.makes in m.title, m.title[:7]) for m in EVERY] == [(True, "CREATE ")] * len(EVERY)
    assert [m.number for m in EVERY if m.is_index] == [7, 10]


# On what answers to DDL as DSQL does: see `tests.support.dsql_ddl` for what that shows.


@pytest.mark.parametrize("qualified", [True, False])
@pytest.mark.parametrize("forgets", [True, False])
async def test_an_index_built_beside_us_is_awaited_until_it_can_be_used(
    empty_database_url: str, qualified: bool, forgets: bool
) -> None:
    pauses = Pauses()
    async with _session(
        empty_database_url, Cluster(looks=40, qualified=qualified, forgets=forgets)
    ) as session:
        assert await _migrator(session.run, DSQL, pauses).run(EVERY) == NAMES
    assert await _notes(empty_database_url) == _applied(EVERY)
    assert await _unusable(empty_database_url) == []
    assert pauses.seconds > 2 * 39 * module.BUILD_POLL_S


async def test_a_build_that_failed_is_dropped_and_tried_again(empty_database_url: str) -> None:
    async with _session(empty_database_url, cluster := Cluster(failures=2)) as session:
        await _migrator(session.run, DSQL).run(EVERY)
    assert cluster.jobs == 4
    assert await _unusable(empty_database_url) == []


async def test_a_build_that_always_fails_is_given_up_with_its_reason(
    empty_database_url: str,
) -> None:
    async with _session(empty_database_url, cluster := Cluster(failures=1_000)) as session:
        with pytest.raises(ParityError, match=r"0007_markets_unsettled.*key size too large"):
            await _migrator(session.run, DSQL).run(EVERY)
    assert 1 < cluster.jobs <= ATTEMPTS_MAX
    assert (await _notes(empty_database_url))[-1][2] == "STARTED"


async def test_waiting_for_an_index_is_bounded_and_goes_on_in_the_next_run(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUILD_POLLS_MAX", 5)
    async with _session(empty_database_url, cluster := Cluster(looks=15)) as session:
        migrator = _migrator(session.run, DSQL)
        with pytest.raises(ParityError, match="still being built"):
            await migrator.run(SEVERAL)
        assert [step for _, step in await migrator.foresee(SEVERAL)] == [Step.WAIT]
        with pytest.raises(ParityError, match="still being built"):
            await migrator.run(SEVERAL)
        assert await migrator.run(SEVERAL) == [AN_INDEX.name]
    assert cluster.jobs == 1, "it was not begun anew"


async def test_a_schema_changed_by_another_session_is_looked_at_again(
    empty_database_url: str,
) -> None:
    cluster = Cluster()
    async with AsyncExitStack() as stack:
        sessions = [
            await stack.enter_async_context(_session(empty_database_url, cluster)) for _ in range(3)
        ]
        await asyncio.gather(*[_migrator(s.run, DSQL).run(EVERY) for s in sessions])
        assert all(session.refused for session in sessions)
    assert await _notes(empty_database_url) == _applied(EVERY)
    assert await _unusable(empty_database_url) == []


async def test_dsql_is_never_sent_an_index_without_async(empty_database_url: str) -> None:
    async with _session(empty_database_url, Cluster()) as session:
        with pytest.raises(Unfit):
            await _migrator(session.run, POSTGRESQL).run(EVERY)
