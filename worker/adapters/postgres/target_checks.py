"""Checks of a database for the features that the worker relies on, one at a time.

Only ``Scratch`` is written to. Every check returns the database's answer, with the SQLSTATE of a
refusal, or raises StoreError. Each call of the driver ends within the timeout.
"""

import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ssl import SSLObject
from typing import Any, Final

import asyncpg

from worker.adapters.postgres import outcomes, statements, target
from worker.adapters.postgres.catalog import stream_of
from worker.adapters.postgres.connect import LANE_SETTINGS, connect
from worker.adapters.postgres.migrate import Dialect, Migrator, dialect_of, migrations
from worker.adapters.postgres.scratch import Scratch
from worker.adapters.system import wall_clock_ms
from worker.domain import ids
from worker.domain.units import AccountId
from worker.errors import Conflict, ParityError
from worker.ports import StreamRow, System
from worker.response import Response, missing, note, ok

LOST_RACES: Final = frozenset({"40001", "40P01", "55P03"})
CLOCK_SKEW_NOTED_S: Final = 2.0
CLOCK_SKEW_MAX_S: Final = 120.0
"""A signature is refused at five minutes. This bound warns earlier."""
ROWS_TRIED: Final = (1_500, 1_501, 3_000, 3_001)
"""Numbers around DSQL's limit, and around half of it in case index entries count."""
VALUE_BYTES: Final = 512 * 1024
"""Greatest length of one value, such as the events or the facts of a batch."""
NEEDED_BYTES: Final = 5 * 1024 * 1024
TRIED_BYTES: Final = 11 * 1024 * 1024
MESSAGE_BYTES: Final = 4 * 1024 * 1024
WRITES: Final[Mapping[str, str]] = {
    "lanes": "INSERT UPDATE",
    "pockets": "INSERT UPDATE",
    "markets": "INSERT UPDATE",
    "positions": "INSERT UPDATE",
    "orders": "INSERT UPDATE",
    "streams": "INSERT",
    "stream_topics": "INSERT",
    "batches": "INSERT",
    "accounts": "INSERT",
    "trades": "INSERT",
    "postings": "INSERT",
    "transfers": "INSERT",
    "payouts": "INSERT",
}
"""Writes of the worker to each table, all of which it also reads."""
WRITTEN_ONCE: Final = ("batches", "trades", "ledger", "postings", "payouts")
_KEY: Final = "00000000-0000-0000-0000-0000000000%02x"
_INSERT: Final = "INSERT INTO probe (k, n, t) VALUES ($1, $2, '')"
_UPDATE: Final = "UPDATE probe SET n = n + 1 WHERE k = $1"
_BEGIN: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ"


class Driver:
    """Makes lane connections to one database. A test may replace it."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._url, self._timeout_s = url, timeout_s

    async def open(self) -> "asyncpg.Connection[asyncpg.Record]":
        """Connect as a lane does. Raises Unavailable, ConfigError."""
        return await connect(self._url, LANE_SETTINGS, timeout_s=self._timeout_s)

    async def token(self) -> str:
        """Create a token for DSQL, and return its IAM action. Raises Unavailable."""
        cluster = target.cluster(self._url)
        async with asyncio.timeout(self._timeout_s):
            await cluster.token()
        return cluster.action

    @property
    def is_dsql(self) -> bool:
        return target.is_dsql(self._url)

    @property
    def dialect(self) -> Dialect:
        return dialect_of(self._url)


class Database:
    """Checks of the database as it is, which write nothing.

    ``books.Books`` does not replace it, since the checks are of a lane's own settings and rights.
    """

    def __init__(self, driver: Driver, system: System) -> None:
        self._driver, self._system = driver, system
        self._session: asyncpg.Connection[asyncpg.Record] | None = None
        self.registered: dict[str, StreamRow] = {}

    async def token(self) -> Response:
        """Create the token that a connection sends as its password, which needs no cluster."""
        if not self._driver.is_dsql:
            return ok("none: this is PostgreSQL")
        return ok(f"minted, for {await self._driver.token()}")

    async def connected(self) -> Response:
        """Connect twice. The second time shows what the first one prepared."""
        began_s = self._system.clock()
        self._session = await self._driver.open()
        first_s = self._system.clock() - began_s
        second = await self._driver.open()
        second_s = self._system.clock() - began_s - first_s
        second.terminate()
        row = await self._row("SELECT current_user AS role, current_database() AS name")
        server = await self._value("SHOW server_version")
        what = "Aurora DSQL, as PostgreSQL" if self._driver.is_dsql else "PostgreSQL"
        return ok(
            f"{what} {server}, {row['name']} as {row['role']}; connected in"
            f" {first_s * 1_000:.0f} ms, again in {second_s * 1_000:.0f} ms"
        )

    async def encrypted(self) -> Response:
        """Report the TLS of the session."""
        transport = getattr(self._open(), "_transport", None)
        tls = transport.get_extra_info("ssl_object") if transport else None
        if not isinstance(tls, SSLObject):
            if self._driver.is_dsql:
                return missing("no TLS")
            return note("no TLS: use it only on this machine or in a network that you trust")
        cipher = (tls.cipher() or ("",))[0]
        name = tls.server_hostname
        return ok(f"{tls.version()}, {cipher}, certificate of {name} verified")

    async def settings(self) -> Response:
        """Compare the settings that the statements rely on with the results of SHOW."""
        asked = {} if self._driver.is_dsql else dict(LANE_SETTINGS)
        asked["transaction_isolation"] = "repeatable read"
        found = {name: str(await self._value(f"SHOW {name}")) for name in asked}
        off = [f"{name} is {found[name]!r}" for name in asked if found[name] != asked[name]]
        if off:
            return missing("; ".join(off))
        return ok(", ".join(f"{name}={value}" for name, value in found.items()))

    async def clock(self) -> Response:
        """Compare the database's clock with the local one, at the middle of a round trip."""
        before_ms = wall_clock_ms()
        theirs = await self._value("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
        after_ms = wall_clock_ms()
        skew_s = (int(theirs) - (before_ms + after_ms) / 2) / 1_000
        text = f"{skew_s:+.3f} s off ours, ± {(after_ms - before_ms) / 2:.0f} ms"
        if abs(skew_s) > CLOCK_SKEW_MAX_S:
            return missing(f"{text}: signatures of tokens will be refused")
        return note(text) if abs(skew_s) > CLOCK_SKEW_NOTED_S else ok(text)

    async def migrated(self) -> Response:
        """Check that every migration is applied."""
        every = migrations()
        left = await Migrator(self._open().fetch, self._driver.dialect, self._system).foresee(every)
        if left:
            migration, action = left[0]
            return missing(
                f"{len(left)} of {len(every)} to apply, first {migration.name} ({action}):"
                " run `parity migrate`"
            )
        return ok(f"{len(every)} migrations applied, all indexes usable")

    async def rights(self) -> Response:
        """Compare the rights of this role with those that a worker needs."""
        needed = [(right, t) for t, more in WRITES.items() for right in ("SELECT", *more.split())]
        unwanted = [(right, table) for table in WRITTEN_ONCE for right in ("UPDATE", "DELETE")]
        held = "SELECT has_table_privilege($2::text, $1::text)"
        lacking = [" ".join(r) for r in needed if not await self._value(held, *r)]
        beyond = [" ".join(r) for r in unwanted if await self._value(held, *r)]
        if lacking:
            return missing(f"this role may not {', '.join(lacking)}: see deploy/dsql/roles.sql")
        if beyond:
            return note(f"this role may also {', '.join(beyond)}: let workers run as parity_worker")
        return ok("SELECT, INSERT and UPDATE where the worker needs them, no others")

    async def streams(self) -> Response:
        """Read the registered streams and their numbers of partitions."""
        found = await self._fetch(statements.READ_STREAMS)
        self.registered = {row["stream"]: stream_of(row) for row in found}
        counts = [f"{name}: {row.partitions}" for name, row in self.registered.items()]
        return ok(", ".join(counts) or "none yet")

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            self._session.terminate()

    def _open(self) -> "asyncpg.Connection[asyncpg.Record]":
        assert self._session is not None, "`connected` is the first check, and the others need it"
        return self._session

    async def _fetch(self, sql: str, *arguments: object) -> Sequence[Any]:
        found: Sequence[Any] = await _translated(self._open().fetch(sql, *arguments))
        return found

    async def _row(self, sql: str, *arguments: object) -> Any:  # noqa: ANN401 - whatever it asks
        return (await self._fetch(sql, *arguments))[0]

    async def _value(self, sql: str, *arguments: object) -> Any:  # noqa: ANN401 - whatever it asks
        return (await self._row(sql, *arguments))[0]


class Bench:
    """Checks that write, in a scratch schema, with two sessions.

    Has more than 15 methods, since each check is a method of a few lines.
    """

    def __init__(self, scratch: Scratch, system: System) -> None:
        self._scratch, self._system = scratch, system
        self._keys = 0
        self._sessions: list[asyncpg.Connection[asyncpg.Record]] = []

    async def created(self) -> Response:
        """Create the schema with all tables, and open the sessions."""
        made = await _translated(self._scratch.create())
        self._sessions = [await self._scratch.session() for _ in range(2)]
        return ok(f"{len(made)} migrations in {self._scratch.schema}, all indexes usable")

    async def closed(self) -> Response:
        """Drop everything that was created."""
        try:
            dropped = await _translated(self._scratch.close())
        except ParityError as error:
            return missing(f"{error}; schema {self._scratch.schema} is left: drop it")
        return ok(f"{dropped} tables and views dropped, schema too" if dropped else "nothing to do")

    async def tidy(self, probe: Callable[[], Awaitable[Response]]) -> Response:
        """Run a check on sessions that are open and not in a transaction."""
        for number, session in enumerate(self._sessions):
            if session.is_closed():
                self._sessions[number] = await self._scratch.session()
            elif session.is_in_transaction():
                await _translated(session.execute("ROLLBACK"))
        return await probe()

    # One statement shape each.

    async def json_rows(self) -> Response:
        """Pass rows as one JSON parameter."""
        sql = (
            "INSERT INTO probe (k, n, t) SELECT k, n, '' FROM"
            " json_to_recordset($1::json) AS d(k uuid, n bigint)"
        )
        given = json.dumps([{"k": self._key(), "n": n} for n in range(3)])
        return _expected(await self._execute(sql, given), "INSERT 0 3")

    async def keys(self) -> Response:
        """Look rows up by a list of keys that is sent as text."""
        key = self._key()
        await self._execute(_INSERT, key, 1)
        sql = "SELECT count(*) FROM probe WHERE k = ANY ($1::text[]::uuid[])"
        found = await _translated(self._sessions[0].fetchval(sql, [key, self._key()]))
        return ok("1 of 2 found") if found == 1 else missing(f"{found} of 2 found, expected 1")

    async def checks(self) -> Response:
        """Violate a CHECK, which is how a wrong batch is refused."""
        return _refused_as(await self._tried(_INSERT, self._key(), -1), "23514")

    async def keys_are_unique(self) -> Response:
        """Insert a key twice, which is how the second of two equal batches is refused."""
        key = self._key()
        await self._execute(_INSERT, key, 1)
        return _refused_as(await self._tried(_INSERT, key, 1), "23505")

    async def upsert(self) -> Response:
        """Insert a row or update the existing one, as positions do."""
        sql = f"{_INSERT} ON CONFLICT (k) DO UPDATE SET n = probe.n + excluded.n"
        key = self._key()
        tags = [await self._execute(sql, key, n) for n in (2, 3)]
        found = await _translated(
            self._sessions[0].fetchval("SELECT n FROM probe WHERE k = $1", key)
        )
        return ok(f"{tags[1]}, 2 + 3 = 5") if found == 2 + 3 else missing(f"2 + 3 = {found}")

    async def partial_index(self) -> Response:
        """Check the index that loads open orders."""
        sql = (
            "SELECT i.indisvalid AND i.indpred IS NOT NULL FROM pg_index i"
            "  JOIN pg_class c ON c.oid = i.indexrelid"
            "  JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = current_schema() AND c.relname = 'orders_open'"
        )
        found = await _translated(self._sessions[0].fetchval(sql))
        return ok("valid, with its predicate") if found else missing(f"came back as {found}")

    async def writing_cte(self) -> Response:
        """Write two tables in one statement, the second from the rows that the first returned."""
        sql = (
            "WITH made AS (INSERT INTO probe (k, n, t) VALUES ($1, 1, '') RETURNING k)"
            ", moved AS (UPDATE probe p SET n = p.n + 1 FROM (SELECT $2::uuid AS k) AS d"
            "             WHERE p.k = d.k RETURNING p.k)"
            " INSERT INTO accounts (account, account_id)"
            " SELECT k, 'made' FROM made UNION ALL SELECT k, 'moved' FROM moved"
        )
        # These are right keys, because the audit of the scratch books reads them.
        made, moved = (ids.account_key(AccountId(name)) for name in ("made", "moved"))
        await self._execute(_INSERT, moved, 1)
        return _expected(await self._execute(sql, made, moved), "INSERT 0 2")

    async def abort(self) -> Response:
        """Violate a rule in a transaction. The tag of COMMIT must show that nothing was written."""
        session, key = self._sessions[0], self._key()
        await self._execute(_BEGIN)
        await self._execute(_INSERT, key, 1)
        refused = await self._tried(_INSERT, key, 1)
        tag = await self._tried("COMMIT")
        left = await _translated(session.fetchval("SELECT count(*) FROM probe WHERE k = $1", key))
        text = f"{refused} at the statement, COMMIT answers {tag}, {left} rows"
        return missing(text) if left or tag == "COMMIT" else ok(text)

    # Two sessions.

    async def snapshot(self) -> Response:
        """Read twice in one transaction while another session commits in between."""
        first, second = self._sessions
        key = self._key()
        await self._execute(_INSERT, key, 1)
        await self._execute(_BEGIN)
        seen = "SELECT n FROM probe WHERE k = $1"
        before = await _translated(first.fetchval(seen, key))
        await _translated(second.execute(_UPDATE, key))
        after = await _translated(first.fetchval(seen, key))
        await self._execute("ROLLBACK")
        text = f"{before} before, {after} after another session's commit"
        return ok(text) if before == after else missing(f"{text}: no snapshot isolation")

    async def lost_update(self) -> Response:
        """Change a row that another session changed since this transaction's snapshot."""
        first, second = self._sessions
        key = self._key()
        await self._execute(_INSERT, key, 0)
        await self._execute(_BEGIN)
        await _translated(first.fetchval("SELECT n FROM probe WHERE k = $1", key))
        await _translated(second.execute(_UPDATE, key))
        return await self._race(key, _UPDATE, key)

    async def write_conflict(self) -> Response:
        """Change one row in two transactions at once. The other transaction commits first."""
        key = self._key()
        await self._execute(_INSERT, key, 0)
        return await self._race_at_once(key, _UPDATE, key)

    async def insert_conflict(self) -> Response:
        """Insert one key in two transactions at once. The other transaction commits first."""
        key = self._key()
        return await self._race_at_once(key, _INSERT, key, 1)

    async def _race_at_once(self, key: str, sql: str, *arguments: object) -> Response:
        second = self._sessions[1]
        for session in (second, self._sessions[0]):
            await _translated(session.execute(_BEGIN))
        await _translated(second.execute(sql, *arguments))
        at_statement = await self._tried(sql, *arguments)
        await _translated(second.execute("COMMIT"))
        return await self._judged(key, at_statement)

    async def _race(self, key: str, sql: str, *arguments: object) -> Response:
        return await self._judged(key, await self._tried(sql, *arguments))

    async def _judged(self, key: str, at_statement: str) -> Response:
        """End this transaction, which must not commit, and report where it was refused."""
        at_commit = await self._tried("COMMIT")
        left = await _translated(
            self._sessions[0].fetchval("SELECT n FROM probe WHERE k = $1", key)
        )
        text = f"{at_statement} at the statement, {at_commit} at COMMIT"
        code = (at_commit if at_commit[:1].isdigit() else at_statement)[:5]
        if left != 1 or at_commit == "COMMIT":
            return missing(f"{text}: both were written")
        if code not in LOST_RACES | {"23505"}:
            return missing(f"{text}: {code} is no lost race to the worker")
        return ok(text)

    async def schema_changed(self) -> Response:
        """Run a prepared statement after another session's DDL. It may be refused once."""
        sql = "SELECT count(*) FROM probe"
        first, second = self._sessions
        await _translated(first.fetchval(sql))
        await _translated(second.execute("CREATE TABLE probe_ddl (k uuid NOT NULL)"))
        tried: list[str] = []
        for _ in range(2):
            try:
                await first.fetchval(sql)
            except outcomes.DRIVER_ERRORS as error:
                meaning = outcomes.of_statement(error)
                tried.append(str(meaning))
                if not isinstance(meaning, Conflict):
                    return missing(f"{meaning}: no lost race to the worker")
            else:
                return ok("; ".join([*tried, "answered"]))
        return missing("; ".join(tried))

    # Limits.

    async def rows(self, batch_rows: int) -> Response:
        """Write rows around the row limit, each with an index entry, and roll them back."""
        tried: list[str] = []
        most = 0
        for count in ROWS_TRIED:
            answer = await self._rolled_back(_ORDERS, self._key(), count)
            tried.append(f"{count:,}: {'passes' if answer.startswith('INSERT') else answer}")
            if not answer.startswith("INSERT"):
                break
            most = count
        text = f"rows with an index entry each, {', '.join(tried)}"
        if most == ROWS_TRIED[-1]:
            return ok(f"{text}: no limit met")
        text += "; index entries count" if most == ROWS_TRIED[0] else "; index entries do not count"
        if most == 0 or batch_rows > most:
            return missing(f"{text}; PARITY_BATCH_ROWS={batch_rows} is too many: set 1000")
        return ok(text)

    async def rows_twice(self) -> Response:
        """Write the same rows twice in a transaction, to see whether each counts twice."""
        count = ROWS_TRIED[1]
        key = self._key()
        again = "UPDATE orders SET seq = seq + 1 WHERE market = $1"
        await self._execute(_BEGIN)
        answer = await self._tried(_ORDERS, key, count)
        if answer.startswith("INSERT"):
            answer = await self._tried(again, key)
        await self._tried("ROLLBACK")
        text = f"{count:,} rows inserted, then updated: {answer}"
        if answer.startswith("UPDATE"):
            return ok(f"{text}; none counts twice towards {ROWS_TRIED[2]:,}")
        return note(f"{text}; each counts twice")

    async def bytes(self) -> Response:
        """Commit as many bytes as a batch may have, in the longest values, and then more."""
        needed = await self._committed_bytes(NEEDED_BYTES)
        if needed != "COMMIT":
            return missing(f"{NEEDED_BYTES >> 20} MiB: {needed}")
        more = await self._committed_bytes(TRIED_BYTES)
        answer = "passes, no limit met" if more == "COMMIT" else f"{more} at COMMIT"
        return ok(f"{NEEDED_BYTES >> 20} MiB passes; {TRIED_BYTES >> 20} MiB: {answer}")

    async def message(self) -> Response:
        """Send one parameter as long as the longest of a batch."""
        given = json.dumps(["x" * 1_000] * (MESSAGE_BYTES // 1_004))
        sql = "SELECT json_array_length($1::json)"
        count = await _translated(self._sessions[0].fetchval(sql, given))
        return ok(f"{len(given) / 2**20:.1f} MiB of JSON, {count:,} rows read")

    async def _committed_bytes(self, size: int) -> str:
        """Commit ``size`` bytes that do not compress, and return the tag or the refusal."""
        await self._execute(_BEGIN)
        for _ in range(size // VALUE_BYTES):
            value = b64encode(self._system.random.randbytes(VALUE_BYTES * 3 // 4)).decode()
            answer = await self._tried("INSERT INTO probe VALUES ($1, 0, $2)", self._key(), value)
            if not answer.startswith("INSERT"):
                await self._tried("ROLLBACK")
                return f"{answer} at the statement"
        return await self._tried("COMMIT")

    # Helpers.

    def _key(self) -> str:
        self._keys += 1
        return _KEY % self._keys

    async def _execute(self, sql: str, *arguments: object) -> str:
        return str(await _translated(self._sessions[0].execute(sql, *arguments)))

    async def _tried(self, sql: str, *arguments: object) -> str:
        """Return the command tag, or the SQLSTATE and message of a refusal."""
        try:
            return str(await self._sessions[0].execute(sql, *arguments))
        except asyncpg.PostgresError as error:
            return f"{error.sqlstate} {error.args[0]}"
        except outcomes.DRIVER_ERRORS as error:
            raise outcomes.of_statement(error) from error

    async def _rolled_back(self, sql: str, *arguments: object) -> str:
        """Try a statement in a transaction that is rolled back."""
        await self._execute(_BEGIN)
        try:
            return await self._tried(sql, *arguments)
        finally:
            await self._tried("ROLLBACK")


# Side, time in force and status are 1, which is a code of each. All rows are rolled back.
_ORDERS: Final = (
    "INSERT INTO orders (order_key, market, account, lane, order_id, side, price, quantity,"
    " time_in_force, leaves, status, seq, reason)"
    " SELECT md5(g::text)::uuid, $1::uuid, $1::uuid, 0, g::text, 1, 1, 1, 1, 1, 1, g, ''"
    "   FROM generate_series(1, $2::int) AS g"
)


async def _translated(call: Awaitable[Any]) -> Any:  # noqa: ANN401 - whatever it returns
    try:
        return await call
    except outcomes.DRIVER_ERRORS as error:
        raise outcomes.of_statement(error) from error


def _expected(tag: str, expected: str) -> Response:
    return ok(tag) if tag == expected else missing(f"{tag}, expected {expected}")


def _refused_as(answer: str, sqlstate: str) -> Response:
    return ok(answer) if answer.startswith(sqlstate) else missing(f"{answer}, expected {sqlstate}")
