"""PostgreSQL and Apache Kafka, started at the same time, or only one of them."""

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
    """Addresses of both. ``notes`` has a line about each server that was started here."""

    database_url: str
    bootstrap: str
    notes: tuple[str, ...]


@contextmanager
def servers(database_url: str | None = None, bootstrap: str | None = None) -> Iterator[Servers]:
    """Start what is not given, with an empty database, and stop it at the end.

    Raises EmbeddedError.
    """
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
