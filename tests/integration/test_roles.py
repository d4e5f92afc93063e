"""The roles of `deploy/dsql`, on PostgreSQL: each can do its work, and nothing else."""

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tests.support.books import (
    ORDER_LANES,
    TIMEOUT_S,
    Books,
    Desk,
    buy,
    cancel,
    deposit,
    market_at,
    open_market,
    opened,
    resolve,
    sell,
    withdraw,
)
from tests.support.databases import connected, execute, fetch
from worker.adapters.postgres import books as onlooker
from worker.adapters.postgres.catalog import register
from worker.adapters.postgres.changes import Kind
from worker.adapters.postgres.migrate import foreseen, migrate, migrations
from worker.adapters.system import system
from worker.audit import full_audit
from worker.audit.proof import prove
from worker.domain.state import StreamKind
from worker.errors import Misconfigured, Refused
from worker.ports import StreamRow

FOLDER = Path(__file__).parents[2] / "deploy" / "dsql"
WORKER, AUDITOR, MIGRATOR = "parity_worker", "parity_auditor", "parity_migrator"
CHANGES = [migration.change for migration in migrations()]
TABLES = [change.name for change in CHANGES if change.kind is Kind.TABLE]
VIEWS = [change.name for change in CHANGES if change.kind is Kind.VIEW]
READ_ONLY = {"migrations", "ledger"}
"""The ledger is from before `postings`; a worker of that time got its right to write there then."""
CHANGED_IN_PLACE = {"lanes", "pockets", "markets", "positions", "orders"}
DENIED = asyncpg.InsufficientPrivilegeError


def _statements(name: str) -> list[str]:
    code = re.sub(r"--[^\n]*", "", (FOLDER / name).read_text(encoding="utf-8"))
    return [statement.strip() for statement in code.split(";") if statement.strip()]


async def _run(url: str, name: str) -> None:
    """Run a file as psql does on PostgreSQL, ignoring roles that exist already."""
    async with connected(url) as connection:
        for statement in _statements(name):
            try:
                if not statement.startswith("AWS "):
                    await connection.execute(statement)
            except asyncpg.DuplicateObjectError:
                assert statement.startswith("CREATE ROLE")


def _as(url: str, role: str) -> str:
    parts = urlsplit(url)
    address = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}@{address}"))


@pytest.fixture
async def url(empty_database_url: str) -> AsyncIterator[str]:
    """A database that the migrator's role has migrated, with the rights of the other roles."""
    await _run(empty_database_url, "migrator.sql")
    await migrate(_as(empty_database_url, MIGRATOR), timeout_s=TIMEOUT_S)
    for _ in range(2):
        await _run(_as(empty_database_url, "postgres"), "roles.sql")
    yield empty_database_url
    roles = (WORKER, AUDITOR, MIGRATOR)
    await execute(empty_database_url, *(f"DROP OWNED BY {role} CASCADE" for role in roles))


def _lines(name: str) -> list[str]:
    return (FOLDER / name).read_text(encoding="utf-8").splitlines()


# The work of each role.


@pytest.mark.parametrize("in_steps", [False, True], ids=["statement", "steps"])
async def test_worker_role_suffices_for_a_worker(url: str, in_steps: bool) -> None:
    """Registering, every statement of a batch, take-over, replay, proof and audit."""
    own = _as(url, WORKER)
    for stream, kind, lanes in (
        ("orders-1", StreamKind.ORDERS, ORDER_LANES),
        ("transfers-1", StreamKind.TRANSFERS, 1),
    ):
        wanted = StreamRow(stream, f"parity.{stream}", kind, lanes, 0, topic_id="one")
        await register(own, wanted, timeout_s=TIMEOUT_S)
    connection = await asyncpg.connect(own)
    books = Books(own, connection, in_steps)
    try:
        transfers, orders = await books.transfers(), await books.orders()
        await transfers.run(*[deposit(name, 10_000) for name in "abc"])
        market = market_at(0, "m")
        await orders.run(open_market(market), buy(market, "a", 10, 50, "bid"))
        await orders.run(sell(market, "b", 4, 50), buy(market, "c", 5, 30, "low"))
        await orders.run(cancel(market, "c", "low"))
        again = await Desk.open(books.store(), orders.home)
        assert again.state.books.keys() == {market}
        await again.run(resolve(market))
        await again.settle()
        await transfers.run(withdraw("c", 100))
        stale = await orders.prepared(open_market(market_at(0, "late")))
        with pytest.raises(Refused):
            await books.store().commit(stale)
        last = again.state.batch_no
        assert len(await books.store().journal(orders.home.lane, 1, last)) == last
        await _audits(own)
    finally:
        for store in books.stores:
            await store.close()
        await connection.close()


async def test_auditor_proves_and_audits(url: str) -> None:
    async with opened(url) as books:
        await (await books.transfers()).run(deposit("a", 5))
    await _audits(_as(url, AUDITOR))


async def _audits(url: str) -> None:
    books = onlooker.Books(url, timeout_s=TIMEOUT_S)
    assert (await prove(books)).consistent
    assert (await full_audit(books, system().clock)).violations == ()
    await books.close()


# The limits of each role.


@pytest.mark.parametrize("role", [WORKER, AUDITOR])
@pytest.mark.parametrize("table", [*TABLES, "migrations"])
async def test_roles_have_exactly_the_needed_rights(url: str, role: str, table: str) -> None:
    """Each right is tried with a statement that changes no row, since rights are checked first."""
    allowed = {"SELECT"}
    if role == WORKER and table not in READ_ONLY:
        allowed |= {"INSERT"} | ({"UPDATE"} if table in CHANGED_IN_PLACE else set())
    sql = "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0"
    ((column,), *_) = await fetch(_as(url, role), sql, table)
    tried = {
        "SELECT": f"SELECT 1 FROM {table} WHERE false",  # noqa: S608
        "INSERT": f"INSERT INTO {table} SELECT * FROM {table} WHERE false",  # noqa: S608
        "UPDATE": f"UPDATE {table} SET {column} = {column} WHERE false",  # noqa: S608
        "DELETE": f"DELETE FROM {table} WHERE false",  # noqa: S608
        "TRUNCATE": f"TRUNCATE {table}",
        "ALTER": f"ALTER TABLE {table} ADD COLUMN more integer",
        "DROP": f"DROP TABLE {table}",
        "REFERENCES": f"CREATE TABLE other (x integer REFERENCES {table})",
        "TRIGGER": f"CREATE INDEX other ON {table} ({column})",
    }
    done = set()
    for what, statement in tried.items():
        with contextlib.suppress(DENIED):
            await execute(_as(url, role), statement)
            done.add(what)
    assert done == allowed


@pytest.mark.parametrize("role", [WORKER, AUDITOR])
async def test_only_the_migrator_creates_and_grants(url: str, role: str) -> None:
    connection = await asyncpg.connect(_as(url, role))
    try:
        for statement in (
            "CREATE TABLE mine (x integer)",
            "CREATE VIEW mine AS SELECT 1",
            "CREATE SCHEMA mine",
            "CREATE ROLE mine",
            f"SET ROLE {MIGRATOR}",
            "SET ROLE postgres",
        ):
            with pytest.raises(DENIED):
                await connection.execute(statement)
        # PostgreSQL only warns a role that may not grant, and grants nothing.
        grant = f"GRANT DELETE ON ledger TO {role}"
        with contextlib.suppress(DENIED):
            await connection.execute(grant)
        rights = "SELECT has_table_privilege($1, 'ledger', 'DELETE')"
        assert not await connection.fetchval(rights, role)
    finally:
        await connection.close()


async def test_auditor_can_preview_migrations_worker_cannot_migrate(url: str) -> None:
    await execute(url, "DROP INDEX orders_open")
    preview = await foreseen(_as(url, AUDITOR), timeout_s=TIMEOUT_S)
    assert [migration.change.name for migration, _ in preview] == ["orders_open"]
    with pytest.raises(Misconfigured):
        await migrate(_as(url, WORKER), timeout_s=TIMEOUT_S)
    assert await migrate(_as(url, MIGRATOR), timeout_s=TIMEOUT_S) == ["0010_orders_open.sql"]


# The files.


def test_grants_name_exactly_the_tables() -> None:
    text = " ".join(_statements("roles.sql"))
    named = {
        name.strip()
        for grant in re.findall(r"GRANT (?:SELECT|INSERT|UPDATE) ON ([^;]*?) TO", text)
        for name in grant.split(",")
    }
    assert named == {*TABLES, *VIEWS, "migrations"}


def test_iam_lines_name_every_role_once() -> None:
    iam = [line for line in _lines("roles.sql") if line.startswith("AWS")]
    assert [
        re.findall(r"^AWS IAM GRANT (\w+) TO 'arn:aws:iam::\d{12}:role/[\w-]+';$", line)
        for line in iam
    ] == [[WORKER], [AUDITOR]]
    made = re.findall(r"CREATE ROLE (\w+) WITH LOGIN", " ".join(_statements("roles.sql")))
    assert made == [WORKER, AUDITOR]
