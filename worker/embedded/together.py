"""PostgreSQL and Apache Kafka, started at the same time, for those who need both or either."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from worker.embedded.kafka import EmbeddedKafka
from worker.embedded.postgres import EmbeddedPostgres

DATABASE: Final = "parity"


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they are; ``notes`` says of each that was started here how long it took."""

    database_url: str
    bootstrap: str
    notes: tuple[str, ...]


@contextmanager
def servers(database_url: str | None = None, bootstrap: str | None = None) -> Iterator[Servers]:
    """Start what is not given, with an empty database; stop it at the end. Raises EmbeddedError."""
    with ExitStack() as stack:
        with ThreadPoolExecutor() as threads:
            postgres: Future[EmbeddedPostgres] | None = None
            kafka: Future[EmbeddedKafka] | None = None
            if database_url is None:
                postgres = threads.submit(EmbeddedPostgres.start)
            if bootstrap is None:
                kafka = threads.submit(EmbeddedKafka.start)
        notes = []
        if postgres is not None:
            server = stack.enter_context(postgres.result())
            database_url = server.create_database(DATABASE)
            notes.append(f"{'PostgreSQL (embedded)':<26} ready in {server.ready_s:.1f} s")
        if kafka is not None:
            cluster = stack.enter_context(kafka.result())
            bootstrap = cluster.bootstrap
            notes.append(f"{'Apache Kafka (embedded)':<26} ready in {cluster.ready_s:.1f} s")
        yield Servers(database_url or "", bootstrap or "", tuple(notes))
