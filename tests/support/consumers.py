"""Plain aiokafka consumers."""

from typing import Final

from aiokafka import AIOKafkaConsumer

from worker.adapters.kafka.group import stop_consumer

STOP_S: Final = 10.0


async def stop(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer and close its connections, unlike aiokafka's own ``stop`` (A11)."""
    await stop_consumer(consumer, STOP_S)
