"""Apache Kafka and PostgreSQL on this machine, for the demo and the tests.

The real servers, from wheels and jars that a package client fetches: no container, no root
rights, no fake. Nothing of them outlives the Python process that started them, however it ends.
Calls block; from a coroutine use `asyncio.to_thread`. Nothing here is used by a deployed worker.
"""

from worker.embedded.kafka import EmbeddedKafka
from worker.embedded.postgres import EmbeddedPostgres
from worker.embedded.process import EmbeddedError

__all__ = ["EmbeddedError", "EmbeddedKafka", "EmbeddedPostgres"]
