"""Kafka through aiokafka, which no other module of the worker imports.

Every call has a deadline and raises only errors of `worker.errors`. Comments number the traps of
aiokafka A1 to A40. `tests/contract/test_aiokafka_traps.py` fails when an upgrade changes one.
"""

from worker.adapters.kafka.broker import AiokafkaBroker
from worker.adapters.kafka.settings import Deadlines, Security

__all__ = ["AiokafkaBroker", "Deadlines", "Security"]
