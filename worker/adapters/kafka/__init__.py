"""Kafka through aiokafka, which nothing else of the worker meets.

Every call has a deadline and ends in what `worker.errors` names. What a comment calls A1 to A36
are aiokafka's traps; `tests/contract/test_aiokafka_traps.py` notices when an upgrade moves one.
"""

from worker.adapters.kafka.broker import AiokafkaBroker
from worker.adapters.kafka.settings import Deadlines, Security

__all__ = ["AiokafkaBroker", "Deadlines", "Security"]
