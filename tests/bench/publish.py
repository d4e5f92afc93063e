"""Puts a part of a case's flow into its topic: ``python -m tests.bench.publish``, a process."""

import asyncio
import json
import sys

from producers.client import OrderPublisher
from tests.bench.case import Case


async def _publish(bootstrap: str, case: Case, first: int, count: int) -> None:
    async with OrderPublisher(
        bootstrap, orders_topic=case.orders_topic, transfers_topic=case.transfers_topic
    ) as publisher:
        await publisher.publish_all(case.place_orders(first, count))


if __name__ == "__main__":
    _, bootstrap_, case_, first_, count_ = sys.argv
    asyncio.run(_publish(bootstrap_, Case(**json.loads(case_)), int(first_), int(count_)))
