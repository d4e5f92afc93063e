"""The checks, their order, and what each needs."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from worker.adapters.kafka import AiokafkaBroker
from worker.adapters.kafka.probes import Brokers, Names
from worker.adapters.postgres.books import Books
from worker.adapters.postgres.catalog import register_by
from worker.adapters.postgres.scratch import Denied, Scratch
from worker.adapters.postgres.store import PostgresStore
from worker.adapters.postgres.target_checks import Bench, Database, Driver
from worker.adapters.system import wall_clock_ms
from worker.config import Settings
from worker.doctor.rehearsal import Rehearsal, again
from worker.doctor.report import Finding, shortened
from worker.domain.state import StreamKind
from worker.errors import ParityError
from worker.ports import StreamRow, System
from worker.response import Response, Verdict, missing, not_tried, note
from worker.topics import event_topics

CHECK_S: Final = 60.0
"""How long one check may take. SCRATCH_S leaves time for DSQL to build the indexes."""
SCRATCH_S: Final = 300.0
CLEAN_S: Final = 120.0
TOKEN, CONNECTION = "token", "connection"
SCRATCH, BROKERS = "scratch tables", "brokers"
STATEMENT, STEPS = "batch in a statement", "batch in steps"

Probe = Callable[[], Awaitable[Response]]


async def examine(
    settings: Settings, broker: AiokafkaBroker, system: System, driver: Driver | None = None
) -> list[Finding]:
    """Run every check, clean up, and return the findings. Only a bug raises."""
    url, timeout_s = settings.database_url.get_secret_value(), settings.database_timeout_s
    doctor = Doctor(settings, system, driver or Driver(url, timeout_s=timeout_s))
    await doctor.examine_database()
    await doctor.examine_brokers(broker)
    return doctor.findings


@dataclass(slots=True)
class Doctor:
    """One examination, which collects findings."""

    settings: Settings
    system: System
    driver: Driver
    findings: list[Finding] = field(default_factory=list)
    registered: dict[str, StreamRow] = field(default_factory=dict)

    async def examine_database(self) -> None:
        """Check the database as it is, then try everything else on scratch tables and drop them."""
        database = Database(self.driver, self.system)
        try:
            await self._look(database)
        finally:
            await database.close()
        if self._has(CONNECTION):
            await self._try()

    async def examine_brokers(self, broker: AiokafkaBroker) -> None:
        """Check Kafka."""
        names = _names(self.settings)
        brokers = Brokers(broker, names)
        ask = self._ask
        await ask(BROKERS, "topics, allowed operations", brokers.answer)
        await ask("codecs", "a batch in each, in memory", brokers.codecs)
        needs = (BROKERS,)
        for name in names.all:
            probe = partial(brokers.topic, name, self.registered.get(self.settings.stream(name)))
            await ask(f"topic {name}", "partitions, settings, id", probe, needs)
        await ask("rights at the brokers", "metadata, no record written", brokers.rights, needs)
        await ask("reading a record", "the newest, without a group", brokers.reading, needs)

    async def _look(self, database: Database) -> None:
        ask, needs = self._ask_database, (CONNECTION,)
        await ask(TOKEN, "botocore's credentials", database.token)
        await ask(CONNECTION, "connect twice, isolation", database.connected, (TOKEN,))
        await ask("TLS", "version, cipher, certificate", database.encrypted, needs)
        await ask("settings", "SHOW of each relevant one", database.settings, needs)
        await ask("clock", "clock_timestamp() and local time", database.clock, needs)
        await ask("migrations", "notes, tables, indexes", database.migrated, needs)
        await ask("rights", "has_table_privilege", database.rights, (CONNECTION, "migrations"))
        await ask("streams", "registered partitions", database.streams, (CONNECTION, "migrations"))
        self.registered = database.registered

    async def _ask_database(
        self, name: str, tried: str, probe: Probe, needs: Sequence[str] = ()
    ) -> None:
        await self._ask(name, tried, partial(again, self.system, probe), needs)

    async def _try(self) -> None:
        scratch = Scratch(
            self.driver.open,
            self.driver.dialect,
            self.system,
            wall_s=wall_clock_ms() // 1_000,
        )
        bench = Bench(scratch, self.system)
        try:
            await self._ask(SCRATCH, "a schema of its own", bench.created, bound_s=SCRATCH_S)
            await self._try_shapes(bench)
            await self._try_two_sessions(bench)
            for mode in (STATEMENT, STEPS):
                await self._rehearse(scratch, mode)
            await self._try_limits(bench)
        finally:
            cleaning = self._ask("cleaning up", "drop the schema", bench.closed, bound_s=CLEAN_S)
            await _uninterrupted(cleaning)

    async def _try_shapes(self, bench: Bench) -> None:
        ask = partial(self._ask_bench, bench)
        await ask("rows as JSON", "json_to_recordset($1::json)", bench.json_rows)
        await ask("keys as text", "ANY ($1::text[]::uuid[])", bench.keys)
        await ask("CHECK", "a row that violates one", bench.checks)
        await ask("primary key", "the same key again", bench.keys_are_unique)
        await ask("upsert", "ON CONFLICT DO UPDATE", bench.upsert)
        await ask("partial index", "pg_index", bench.partial_index)
        writing = partial(_softened, bench.writing_cte)
        await ask("writing CTE", "WITH (INSERT), (UPDATE … FROM) INSERT", writing)
        await ask("abort", "COMMIT after a refused statement", bench.abort)

    async def _try_two_sessions(self, bench: Bench) -> None:
        ask = partial(self._ask_bench, bench)
        await ask("snapshot", "two reads around a commit", bench.snapshot)
        await ask("lost update", "UPDATE a row changed since", bench.lost_update)
        await ask("conflict of updates", "one row, two transactions", bench.write_conflict)
        await ask("conflict of inserts", "one key, two transactions", bench.insert_conflict)
        await ask("after a DDL", "a prepared statement again", bench.schema_changed)

    async def _try_limits(self, bench: Bench) -> None:
        ask = partial(self._ask_bench, bench)
        rows = partial(bench.rows, self.settings.batch_rows)
        await ask("rows per transaction", "INSERT … SELECT, rolled back", rows)
        await ask("rows written twice", "INSERT, UPDATE, rolled back", bench.rows_twice)
        await ask("bytes per transaction", "values of 512 KiB", bench.bytes)
        await ask("a long parameter", "json_array_length", bench.message)

    async def _ask_bench(self, bench: Bench, name: str, tried: str, probe: Probe) -> None:
        await self._ask(
            name, tried, partial(again, self.system, partial(bench.tidy, probe)), (SCRATCH,)
        )

    async def _rehearse(self, scratch: Scratch, mode: str) -> None:
        """Play an exchange in one commit mode. Only the configured mode must succeed."""
        in_steps = mode == STEPS
        needed = in_steps == (self.settings.commit_mode == "steps")
        play = _Play(scratch, self.settings.database_timeout_s, self.system, in_steps=in_steps)
        soften = (lambda probe: probe) if needed else (lambda probe: partial(_softened, probe))
        await self._ask(mode, "a small exchange", soften(play.play), (SCRATCH,))
        if needed:
            await self._ask("fence", "a batch of an earlier epoch", play.fenced, (mode,))
            await self._ask("take-over", "load lane and journal", play.read_again, (mode,))
            await self._ask("proof and audit", "of the scratch books", play.audited, (mode,))

    def _has(self, name: str) -> bool:
        return any(
            finding.name == name and finding.verdict in {Verdict.OK, Verdict.NOTE}
            for finding in self.findings
        )

    async def _ask(
        self,
        name: str,
        tried: str,
        probe: Probe,
        needs: Sequence[str] = (),
        *,
        bound_s: float = CHECK_S,
    ) -> None:
        """Run one check if the checks that it needs passed, and record a finding in any case."""
        began_s = self.system.clock()
        lacking = [need for need in needs if not self._has(need)]
        answer = not_tried(f"needs {lacking[0]}") if lacking else await _answer(probe, bound_s)
        took_s = self.system.clock() - began_s
        self.findings.append(Finding(name, tried, answer.verdict, shortened(answer.text), took_s))


class _Play:
    """A rehearsal in one commit mode, which registers its streams when it begins."""

    def __init__(
        self, scratch: Scratch, timeout_s: float, system: System, *, in_steps: bool
    ) -> None:
        self._scratch, self._system = scratch, system
        self._name = "steps" if in_steps else "statement"
        self._store = PostgresStore(
            "", timeout_s=timeout_s, in_steps=in_steps, connect=scratch.connect
        )
        self._books = Books("", timeout_s=timeout_s, connect=scratch.connect)
        self._rehearsal: Rehearsal | None = None

    async def play(self) -> Response:
        session = await self._scratch.session()
        streams = [
            await register_by(
                session, StreamRow(f"{self._name}.{kind.lower()}", "none", kind, 1, first_lane=0)
            )
            for kind in StreamKind
        ]
        self._rehearsal = Rehearsal(self._store, self._books, streams, self._system)
        answer = await self._rehearsal.played()
        if self._store.in_steps and self._name == "statement":
            return note(f"refused, {answer.text} in steps. Set PARITY_COMMIT_MODE=steps")
        return answer

    async def fenced(self) -> Response:
        return await self._played().fenced()

    async def read_again(self) -> Response:
        return await self._played().read_again()

    async def audited(self) -> Response:
        return await self._played().audited()

    def _played(self) -> Rehearsal:
        assert self._rehearsal is not None, "called only after `play`"
        return self._rehearsal


async def _uninterrupted(work: Coroutine[Any, Any, None]) -> None:
    """Finish ``work``, which is bounded in time, before a cancellation proceeds."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def _answer(probe: Probe, bound_s: float) -> Response:
    try:
        async with asyncio.timeout(bound_s):
            return await probe()
    except Denied as error:
        return not_tried(f"{error}: run `parity doctor` once as admin or as the migrator")
    except ParityError as error:
        return missing(str(error) or type(error).__name__)
    except TimeoutError:
        return missing(f"no answer within {bound_s:g} s")


async def _softened(probe: Probe) -> Response:
    """Run a probe of a feature that the worker can do without."""
    try:
        answer = await probe()
    except ParityError as error:
        answer = missing(str(error))
    if answer.verdict is not Verdict.MISSING:
        return answer
    return note(f"{answer.text}; a worker then commits in steps")


def _names(settings: Settings) -> Names:
    return Names(event_topics(settings), settings.dead_letters_topic)
