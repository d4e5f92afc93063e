"""Migrations on real tables: interrupted at every statement, two at once, changed files, jobs."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tests.conftest import PostgresServer
from tests.integration.dsql_ddl import Cluster, DsqlSession
from tests.support.books import ORDERS, TIMEOUT_S, opened
from tests.support.databases import connected, execute
from tests.support.eventually import eventually
from worker import config
from worker.adapters.postgres import migrate as module
from worker.adapters.postgres.changes import Action, Migration
from worker.adapters.postgres.migrate import (
    ACTIONS_MAX,
    DSQL,
    POSTGRESQL,
    Dialect,
    Execute,
    Migrator,
    foreseen,
    migrate,
    migrations,
)
from worker.adapters.postgres.target_checks import Driver
from worker.adapters.system import system
from worker.doctor.checks import CONNECTION, Doctor
from worker.errors import ConfigError, Misconfigured, OutcomeUnknown, ParityError, Refused
from worker.ports import System

EVERY = migrations()
NAMES = [migration.name for migration in EVERY]
JOBS = [migration for migration in EVERY if migration.change.only_reads]
BOTH = pytest.mark.parametrize("dialect", [POSTGRESQL, DSQL], ids=["postgresql", "dsql_ddl"])


def _files(*texts: str) -> list[Migration]:
    """Return files of these declarations and statements, numbered from 1."""
    return [
        Migration(number, f"{number:04}_x.sql", f"-- A step.\n-- {text}\n")
        for number, text in enumerate(texts, 1)
    ]


SHOP = _files(
    "creates: table goods\nCREATE TABLE goods (name text NOT NULL, price bigint NOT NULL,"
    " CONSTRAINT goods_pkey PRIMARY KEY (name), CONSTRAINT goods_price CHECK (price < 100));",
    "creates: column goods.kind\nALTER TABLE goods ADD COLUMN kind integer;",
    "creates: default goods.kind\nALTER TABLE goods ALTER COLUMN kind SET DEFAULT 1;",
    "creates: constraint goods.goods_terms\n"
    "ALTER TABLE goods ADD CONSTRAINT goods_terms CHECK (price > 0) NOT VALID;",
    "validates: constraint goods.goods_terms\n"
    "ALTER TABLE ASYNC goods VALIDATE CONSTRAINT goods_terms;",
    "drops: constraint goods.goods_price\nALTER TABLE goods DROP CONSTRAINT goods_price;",
    "creates: index goods.goods_dear\nCREATE INDEX ASYNC goods_dear ON goods (price);",
    "creates: view offers\nCREATE VIEW offers AS SELECT name FROM goods;",
    "creates: column offers.price\nCREATE OR REPLACE VIEW offers AS SELECT name, price FROM goods;",
    "creates: view bargains\nCREATE VIEW bargains AS SELECT name FROM goods WHERE price < 5;",
    "drops: view offers\nDROP VIEW offers;",
    "drops: default goods.kind\nALTER TABLE goods ALTER COLUMN kind DROP DEFAULT;",
    "drops: column goods.kind\nALTER TABLE goods DROP COLUMN kind;",
    "drops: index goods.goods_dear\nDROP INDEX goods_dear;",
    "creates: index goods.goods_cheap\nCREATE INDEX ASYNC goods_cheap ON goods (price);",
    "creates: table baskets\nCREATE TABLE baskets (name text NOT NULL,"
    " CONSTRAINT baskets_pkey PRIMARY KEY (name));",
    "drops: table baskets\nDROP TABLE baskets;",
)
"""Every kind of change, and two views that take the place of one."""
SHOP_IN_THE_END = {
    "column bargains.name",
    "column goods.name",
    "column goods.price",
    "constraint goods.goods_pkey",
    "constraint goods.goods_terms",
    "index goods_cheap",
    "index goods_pkey",
}
GROUPS = {
    "columns": [SHOP[n] for n in (0, 1, 2, 11, 12)],
    "constraints": [SHOP[n] for n in (0, 3, 4, 5)],
    "indexes": [SHOP[n] for n in (0, 6, 13, 14)],
    "views": [SHOP[n] for n in (0, 7, 8, 9, 10)],
    "tables": [SHOP[n] for n in (0, 15, 16)],
}
"""The same files, those together that depend on each other."""


@dataclass
class Pauses:
    """Pauses that take no time, counted. ``often`` is set after five."""

    seconds: float = 0.0
    count: int = 0
    often: asyncio.Event = field(default_factory=asyncio.Event)

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.count += 1
        if self.count == 5:
            self.often.set()
        await asyncio.sleep(0)

    def system(self) -> System:
        return System(lambda: self.seconds, self.sleep, random.Random(1))


@dataclass
class Line:
    """Executes statements until it breaks, before or after one of them; the session is gone then.

    With ``holds`` the statement waits for somebody else instead, and then goes through.
    """

    connection: "asyncpg.Connection[asyncpg.Record]"
    answer: Execute
    breaks_at: int = -1
    after: bool = False
    holds: tuple[str, Callable[[], Awaitable[object]]] | None = None
    ran: list[str] = field(default_factory=list)

    async def run(self, sql: str, *arguments: object, **settings: object) -> Sequence[Any]:
        breaks = len(self.ran) == self.breaks_at
        self.ran.append(sql)
        if self.holds and self.holds[0] in sql:
            (_, meanwhile), self.holds = self.holds, None
            await meanwhile()
        if breaks and not self.after:
            self._break()
        try:
            return await self.answer(sql, *arguments, **settings)
        finally:
            if breaks:
                self._break()

    def _break(self) -> None:
        self.connection.terminate()
        raise asyncpg.ConnectionDoesNotExistError("the line broke")


@asynccontextmanager
async def _session(url: str, cluster: Cluster) -> AsyncIterator[DsqlSession]:
    async with connected(url) as connection:
        session = DsqlSession(cluster, connection)
        await session.prepare()
        yield session


@asynccontextmanager
async def _line(url: str, dialect: Dialect, cluster: Cluster) -> AsyncIterator[Line]:
    """Open a session that answers as a dialect does."""
    async with _session(url, cluster) as session:
        yield Line(session.connection, session.run if dialect is DSQL else session.connection.fetch)


def _migrator(
    execute: Execute, dialect: Dialect = POSTGRESQL, pauses: Pauses | None = None
) -> Migrator:
    return Migrator(execute, dialect, (pauses or Pauses()).system())


async def _notes(url: str) -> list[tuple[object, ...]]:
    async with connected(url) as connection:
        return await _notes_by(connection)


async def _notes_by(connection: "asyncpg.Connection[asyncpg.Record]") -> list[tuple[object, ...]]:
    sql = "SELECT number, checksum, state FROM migrations ORDER BY number"
    return [tuple(row) for row in await connection.fetch(sql)]


def _applied(every: Sequence[Migration]) -> list[tuple[object, ...]]:
    return [(m.number, m.checksum, "APPLIED") for m in every]


async def _unusable(url: str) -> list[str]:
    async with connected(url) as connection:
        sql = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
        return [row[0] for row in await connection.fetch(sql)]


async def _catalog(url: str) -> set[str]:
    async with connected(url) as connection:
        return await _catalog_by(connection)


async def _catalog_by(connection: "asyncpg.Connection[asyncpg.Record]") -> set[str]:
    """Return what the schema has, but for the notes; what is not valid or has a default says so."""
    sql = """
        SELECT 'column ' || c.relname || '.' || a.attname || CASE WHEN a.atthasdef
               THEN ' default' ELSE '' END
          FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relkind IN ('r', 'v') AND a.attnum > 0 AND NOT a.attisdropped
           AND c.relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT 'constraint ' || c.relname || '.' || k.conname || CASE WHEN k.convalidated
               THEN '' ELSE ' not valid' END
          FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid
         WHERE c.relnamespace = 'public'::regnamespace AND k.contype <> 'n'
        UNION ALL
        SELECT 'index ' || c.relname || CASE WHEN i.indisvalid THEN '' ELSE ' not valid' END
          FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
         WHERE c.relnamespace = 'public'::regnamespace"""
    return {row[0] for row in await connection.fetch(sql) if "migrations" not in row[0]}


# On both dialects. See `tests.integration.dsql_ddl` for what the stand-in shows.


@BOTH
async def test_every_kind_of_change_is_applied_once(
    empty_database_url: str, dialect: Dialect
) -> None:
    async with _line(empty_database_url, dialect, Cluster()) as line:
        names = [migration.name for migration in SHOP]
        assert await _migrator(line.run, dialect).run(SHOP) == names
        assert await _migrator(line.run, dialect).run(SHOP) == []
        assert await _migrator(line.run, dialect).foresee(SHOP) == []
    assert await _notes(empty_database_url) == _applied(SHOP)
    assert await _catalog(empty_database_url) == SHOP_IN_THE_END


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("group", GROUPS)
@BOTH
async def test_broken_line_costs_only_another_run(
    empty_database_url: str, dialect: Dialect, group: str, after: bool
) -> None:
    """The line breaks at every statement in turn, also between a change and its mark."""
    every, clean = GROUPS[group], "DROP SCHEMA public, sys CASCADE; CREATE SCHEMA public"
    async with _line(empty_database_url, dialect, Cluster()) as line:
        await _migrator(line.run, dialect).run(every)
        statements, right = len(line.ran), await _catalog_by(line.connection)
        await line.connection.execute(clean)
    assert statements > 4 * len(every), "every action of every file is interrupted"
    for broken in range(statements):
        cluster = Cluster()
        async with _line(empty_database_url, dialect, cluster) as line:
            line.breaks_at, line.after = broken, after
            with pytest.raises(OutcomeUnknown):
                await _migrator(line.run, dialect).run(every)
        async with _line(empty_database_url, dialect, cluster) as line:
            await _migrator(line.run, dialect).run(every)
            assert await _notes_by(line.connection) == _applied(every)
            assert await _catalog_by(line.connection) == right
            await line.connection.execute(clean)


@BOTH
async def test_migrators_at_once_agree(empty_database_url: str, dialect: Dialect) -> None:
    cluster = Cluster()
    async with AsyncExitStack() as stack:
        lines = [
            await stack.enter_async_context(_line(empty_database_url, dialect, cluster))
            for _ in range(3)
        ]
        await asyncio.gather(*[_end_session(line, _migrator(line.run, dialect)) for line in lines])
    assert await _notes(empty_database_url) == _applied(SHOP)
    assert await _catalog(empty_database_url) == SHOP_IN_THE_END


async def _end_session(line: Line, migrator: Migrator) -> None:
    """Migrate and end the session, as the command does: it has the lock until then."""
    await migrator.run(SHOP)
    await line.connection.close()


@pytest.mark.parametrize("number", [1, 4, 6, 13, 16])
async def test_overtaken_dsql_migrator_changes_nothing(
    empty_database_url: str, number: int
) -> None:
    """Stop a migrator before its statement, while another one applies all files.

    Without OC001 the late statement would create again what a later file dropped.
    """
    cluster = Cluster()
    async with (
        _line(empty_database_url, DSQL, cluster) as late,
        _line(empty_database_url, DSQL, cluster) as early,
    ):
        sql = DSQL.ddl(SHOP[number - 1])
        late.holds = (sql, lambda: _migrator(early.run, DSQL).run(SHOP))
        await _migrator(late.run, DSQL).run(SHOP)
        assert late.holds is None
    assert await _notes(empty_database_url) == _applied(SHOP)
    assert await _catalog(empty_database_url) == SHOP_IN_THE_END


@BOTH
async def test_wrong_declaration_is_given_up_with_a_reason(
    empty_database_url: str, dialect: Dialect
) -> None:
    wrong = [SHOP[0], *_files("", "creates: column goods.kind\nDROP TABLE IF EXISTS nothing;")[1:]]
    async with _line(empty_database_url, dialect, Cluster()) as line:
        with pytest.raises(ParityError, match=r"0002_x.*does not show the column goods\.kind"):
            await _migrator(line.run, dialect).run(wrong)
        assert len(line.ran) < 4 * ACTIONS_MAX


async def test_lost_races_only_take_time(empty_database_url: str) -> None:
    cluster = Cluster(loses=0.2)
    async with _line(empty_database_url, DSQL, cluster) as line:
        await _migrator(line.run, DSQL).run(SHOP)
    assert await _notes(empty_database_url) == _applied(SHOP)
    assert await _catalog(empty_database_url) == SHOP_IN_THE_END


# On PostgreSQL.


async def test_migrations_run_in_order_and_once(empty_database_url: str) -> None:
    assert await migrate(empty_database_url, timeout_s=TIMEOUT_S) == NAMES
    assert await migrate(empty_database_url, timeout_s=TIMEOUT_S) == []
    assert await _notes(empty_database_url) == _applied(EVERY)


@pytest.mark.parametrize("applied", [0, 1, 6, 7, 14, 15])
async def test_migrations_continue_after_those_applied(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch, applied: int
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(module, "migrations", lambda: EVERY[:applied])
        await migrate(empty_database_url, timeout_s=TIMEOUT_S)
    assert await migrate(empty_database_url, timeout_s=TIMEOUT_S) == NAMES[applied:]
    async with opened(empty_database_url) as books:
        assert (await books.rows("SELECT stream FROM streams WHERE first_lane = 0")) == [(ORDERS,)]


async def test_failed_file_stops_those_after_it(empty_database_url: str) -> None:
    broken = [SHOP[0], replace(SHOP[1], sql=SHOP[1].sql.replace("integer", "oops")), *SHOP[2:]]
    async with connected(empty_database_url) as connection:
        with pytest.raises(Misconfigured, match=r"^0002_x\.sql: 42704"):
            await _migrator(connection.fetch).run(broken)
    assert (await _notes(empty_database_url))[1:] == [(2, broken[1].checksum, "STARTED")]


async def test_changed_file_is_refused(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(empty_database_url, timeout_s=TIMEOUT_S)
    changed = [replace(m, sql=m.sql + "-- 2") if m.number == 5 else m for m in EVERY]
    monkeypatch.setattr(module, "migrations", lambda: changed)
    for call in (migrate, foreseen):
        with pytest.raises(ParityError, match=r"0005_pockets\.sql was changed"):
            await call(empty_database_url, timeout_s=TIMEOUT_S)


async def test_unknown_table_is_refused(empty_database_url: str) -> None:
    async with connected(empty_database_url) as connection:
        await connection.execute("CREATE TABLE lanes (of_a_bowling_alley integer)")
        with pytest.raises(ParityError, match="the table lanes, which no migration made"):
            await migrate(empty_database_url, timeout_s=TIMEOUT_S)
        assert await connection.fetchval("SELECT count(*) FROM lanes") == 0


async def test_relation_of_another_kind_is_named(empty_database_url: str) -> None:
    async with connected(empty_database_url) as connection:
        await connection.execute("CREATE VIEW lanes AS SELECT 1 AS of_a_bowling_alley")
    with pytest.raises(ParityError, match=r"0002_lanes\.sql: expected the table lanes, the"):
        await migrate(empty_database_url, timeout_s=TIMEOUT_S)


async def test_thing_of_another_schema_counts_for_nothing(empty_database_url: str) -> None:
    async with connected(empty_database_url) as connection:
        await connection.execute(
            "CREATE SCHEMA other; CREATE TABLE other.goods (price bigint, kind integer DEFAULT 1,"
            " CONSTRAINT goods_terms CHECK (price > 0));"
            " CREATE INDEX goods_cheap ON other.goods (price)"
        )
        await _migrator(connection.fetch).run(SHOP)
    assert await _catalog(empty_database_url) == SHOP_IN_THE_END


async def test_dropped_thing_that_returned_is_refused(empty_database_url: str) -> None:
    async with connected(empty_database_url) as connection:
        await _migrator(connection.fetch).run(SHOP)
        await connection.execute("ALTER TABLE goods ADD COLUMN kind integer")
        with pytest.raises(ParityError, match=r"0013_x\.sql was applied, but the column goods\.k"):
            await _migrator(connection.fetch).run(SHOP)


async def test_lost_or_unusable_index_is_made_again(empty_database_url: str) -> None:
    await migrate(empty_database_url, timeout_s=TIMEOUT_S)
    async with connected(empty_database_url) as connection:
        await connection.execute("DROP INDEX markets_unsettled")
        await connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'orders_open'::regclass"
        )
    assert await migrate(empty_database_url, timeout_s=TIMEOUT_S) == [
        "0007_markets_unsettled.sql",
        "0010_orders_open.sql",
    ]
    assert await _unusable(empty_database_url) == []


async def test_violated_constraint_is_named_until_corrected(empty_database_url: str) -> None:
    async with connected(empty_database_url) as connection:
        await _migrator(connection.fetch).run(SHOP[:3])
        await connection.execute("INSERT INTO goods (name, price) VALUES ('gift', 0)")
        for _ in range(2):
            with pytest.raises(Refused, match=r"^0005_x\.sql: 23514 .*goods_terms"):
                await _migrator(connection.fetch).run(SHOP)
        with pytest.raises(asyncpg.CheckViolationError, match="goods_terms"):
            await connection.execute("INSERT INTO goods (name, price) VALUES ('present', 0)")
        await connection.execute("DELETE FROM goods")
        await _migrator(connection.fetch).run(SHOP)
    assert await _catalog(empty_database_url) == SHOP_IN_THE_END


async def test_repeated_refusal_is_reported(empty_database_url: str) -> None:
    """A thing of that name is there, and yet the change is not done: nobody came first."""
    wrong = SHOP[3].sql.replace("ADD CONSTRAINT goods_terms", "ADD CONSTRAINT goods_price")
    async with _line(empty_database_url, POSTGRESQL, Cluster()) as line:
        with pytest.raises(Misconfigured, match=r"^0004_x\.sql: 42710 .*goods_price"):
            await _migrator(line.run).run([SHOP[0], replace(SHOP[3], sql=wrong)])
        assert sum("goods_price" in sql and "ADD" in sql for sql in line.ran) < 6


async def test_waiting_for_a_busy_table_is_bounded(empty_database_url: str) -> None:
    """Others wait meanwhile, so the migrator lets them pass and tries again."""
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    async with connected(empty_database_url) as busy, connected(empty_database_url) as seeing:
        await migrate(empty_database_url, timeout_s=TIMEOUT_S)
        await busy.execute("DELETE FROM migrations WHERE number = 30")
        await busy.execute("ALTER TABLE streams ADD CONSTRAINT streams_kind CHECK (kind <> '')")
        await busy.execute("BEGIN; LOCK TABLE streams IN ACCESS SHARE MODE")
        late = asyncio.create_task(migrate(empty_database_url, timeout_s=TIMEOUT_S))
        await eventually(lambda: seeing.fetchval(waits))
        await eventually(lambda: _none(seeing.fetchval(waits)))
        assert not late.done()
        await busy.execute("ROLLBACK")
        assert await late == ["0030_streams_kind_dropped.sql"]


async def _none(asked: Awaitable[int]) -> bool:
    return await asked == 0


async def test_second_migrator_waits_for_the_first(empty_database_url: str) -> None:
    """The first is held before a statement of which a later file drops the outcome."""
    waiting = Pauses()
    async with (
        _line(empty_database_url, POSTGRESQL, Cluster()) as first,
        _line(empty_database_url, POSTGRESQL, Cluster()) as second,
    ):
        await _migrator(first.run).run(SHOP[:3])
        others = asyncio.create_task(_migrator(second.run, pauses=waiting).run(SHOP))
        first.holds = (POSTGRESQL.ddl(SHOP[3]), waiting.often.wait)
        await _end_session(first, _migrator(first.run))
        assert await others == []
    assert first.holds is None
    assert await _catalog(empty_database_url) == SHOP_IN_THE_END


async def test_waiting_for_another_migrator_is_bounded(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLLS_MAX", 5)
    async with (
        connected(empty_database_url) as first,
        connected(empty_database_url) as second,
    ):
        await _migrator(first.fetch).run(SHOP)
        with pytest.raises(ParityError, match="another migrator is at work"):
            await _migrator(second.fetch).run(SHOP)
        assert await _migrator(second.fetch).foresee(SHOP) == []


async def test_migrators_at_once_find_the_whole_schema(empty_database_url: str) -> None:
    done = await asyncio.gather(
        *[migrate(empty_database_url, timeout_s=TIMEOUT_S) for _ in range(4)]
    )
    assert {name for names in done for name in names} == set(NAMES)
    assert await _notes(empty_database_url) == _applied(EVERY)
    assert await migrate(empty_database_url, timeout_s=TIMEOUT_S) == []


async def test_dry_run_reports_and_changes_nothing(empty_database_url: str) -> None:
    told = await foreseen(empty_database_url, timeout_s=TIMEOUT_S)
    assert [(m.name, action) for m, action in told] == [(name, Action.NOTE) for name in NAMES]
    async with connected(empty_database_url) as connection:
        assert await _catalog(empty_database_url) == set()
        await _migrator(connection.fetch).run(EVERY[:6])
        await connection.execute("UPDATE migrations SET state = 'STARTED' WHERE number = 6")
    told = await foreseen(empty_database_url, timeout_s=TIMEOUT_S)
    assert [(m.number, action) for m, action in told] == [
        (6, Action.MARK),
        *[(number, Action.NOTE) for number in range(7, len(EVERY) + 1)],
    ]


# On the stand-in for DSQL alone.


@pytest.mark.parametrize("qualified", [True, False])
@pytest.mark.parametrize("forgets", [True, False])
@pytest.mark.parametrize("by_table", [True, False])
async def test_job_is_awaited_until_its_work_shows(
    empty_database_url: str, qualified: bool, forgets: bool, by_table: bool
) -> None:
    """Index and validation, whatever the job calls its object."""
    pauses = Pauses()
    cluster = Cluster(looks=40, qualified=qualified, forgets=forgets, by_table=by_table)
    async with _session(empty_database_url, cluster) as session:
        await _migrator(session.run, DSQL, pauses).run(SHOP)
    assert await _catalog(empty_database_url) == SHOP_IN_THE_END
    assert cluster.jobs == 3
    assert pauses.seconds > 3 * 39 * module.POLL_S


async def test_interrupted_wait_does_not_repeat_the_job(empty_database_url: str) -> None:
    """A second run finds the job of the first by the name of its object."""
    cluster = Cluster(looks=10)
    async with _line(empty_database_url, DSQL, cluster) as line:
        line.holds = ("sys.jobs", _break(line))
        with pytest.raises(OutcomeUnknown):
            await _migrator(line.run, DSQL).run(SHOP[:5])
    async with _session(empty_database_url, cluster) as session:
        await _migrator(session.run, DSQL).run(SHOP[:5])
    assert cluster.jobs == 1


def _break(line: Line) -> Callable[[], Awaitable[object]]:
    async def broken() -> None:
        line._break()

    return broken


async def test_failed_build_is_dropped_and_repeated(empty_database_url: str) -> None:
    async with _session(empty_database_url, cluster := Cluster(failures=2)) as session:
        await _migrator(session.run, DSQL).run(EVERY)
    assert cluster.jobs == len(JOBS) + 2
    assert await _unusable(empty_database_url) == []


async def test_build_that_always_fails_is_given_up(empty_database_url: str) -> None:
    async with _session(empty_database_url, cluster := Cluster(failures=1_000)) as session:
        with pytest.raises(ParityError, match=r"0007_markets_unsettled.*key size too large"):
            await _migrator(session.run, DSQL).run(EVERY)
    assert 1 < cluster.jobs <= ACTIONS_MAX
    assert (await _notes(empty_database_url))[-1][2] == "STARTED"


async def test_failed_validation_is_named_until_corrected(empty_database_url: str) -> None:
    """The job that failed in an earlier run does not prevent the next one."""
    cluster = Cluster()
    async with _session(empty_database_url, cluster) as session:
        await _migrator(session.run, DSQL).run(SHOP[:3])
        await session.connection.execute("INSERT INTO goods (name, price) VALUES ('gift', 0)")
        for _ in range(2):
            with pytest.raises(ParityError, match=r"0005_x\.sql: the job failed: .*goods_terms"):
                await _migrator(session.run, DSQL).run(SHOP)
        await session.connection.execute("DELETE FROM goods")
        await _migrator(session.run, DSQL).run(SHOP)
    assert await _catalog(empty_database_url) == SHOP_IN_THE_END


async def test_waiting_for_a_job_is_bounded(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLLS_MAX", 5)
    several = [SHOP[0], SHOP[6]]
    async with _session(empty_database_url, cluster := Cluster(looks=15)) as session:
        migrator = _migrator(session.run, DSQL)
        with pytest.raises(ParityError, match="still in work"):
            await migrator.run(several)
        assert [action for _, action in await migrator.foresee(several)] == [Action.WAIT]
        with pytest.raises(ParityError, match="still in work"):
            await migrator.run(several)
        assert await migrator.run(several) == [SHOP[6].name]
    assert cluster.jobs == 1, "it was not begun again"


async def test_dsql_is_never_sent_a_lock(empty_database_url: str) -> None:
    async with _session(empty_database_url, Cluster()) as session:
        with pytest.raises(Misconfigured, match="advisory_lock not supported"):
            await _migrator(session.run, POSTGRESQL).run(SHOP)
        await _migrator(session.run, DSQL).run(SHOP)


# The database itself.


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_database_of_another_encoding_is_refused(
    postgres_server: PostgresServer, encoding: str
) -> None:
    """A title beyond ASCII would be answered INTERNAL_REJECT, long after the start."""
    name = f"test_{encoding.lower()}_{uuid.uuid4().hex}"
    await execute(
        postgres_server.url,
        f"CREATE DATABASE \"{name}\" ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0",
    )
    url = urlunsplit(urlsplit(postgres_server.url)._replace(path=f"/{name}"))
    doctor = Doctor(config.load(database_url=url), system(), Driver(url, timeout_s=TIMEOUT_S))
    try:
        with pytest.raises(ConfigError, match=f"encoded in {encoding}.* needs UTF8"):
            await migrate(url, timeout_s=TIMEOUT_S)
        await doctor.examine_database()
    finally:
        await execute(postgres_server.url, f'DROP DATABASE "{name}" WITH (FORCE)')
    (found,) = [finding for finding in doctor.findings if finding.name == CONNECTION]
    assert f"encoded in {encoding}" in found.came_back
