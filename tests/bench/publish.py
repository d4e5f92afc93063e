"""Publish a case's orders to their topic: ``python -m tests.bench.publish``."""

import asyncio
import json
import sys

from producers.client import OrderPublisher
from tests.bench.case import Case


async def _publish(bootstrap: str, case: Case) -> None:
    async with OrderPublisher(
        bootstrap, orders_topic=case.orders_topic, transfers_topic=case.transfers_topic
    ) as publisher:
        await publisher.publish_all(case.place_orders(0, case.orders))


if __name__ == "__main__":
    _, bootstrap_, case_ = sys.argv
    asyncio.run(_publish(bootstrap_, Case(**json.loads(case_))))
