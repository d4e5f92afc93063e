"""A client that sends commands, and flows of commands that exercise the exchange.

- `client` has OrderPublisher. It is typed, keeps the order per key and delivers at least once.
- `link` is its connection, and the only module here that imports aiokafka.
- `language` has the commands and the partitioner. The worker uses them, too.
- `encode` checks commands, and makes their bytes.
- `flow` makes commands from a seed. It is pure.
- `load` is a program that publishes a flow.

None of them imports the worker, so the project that uses them may have a module of its own that is
named `worker`.
"""

from producers.client import (
    BrokerUnreachable,
    Delivery,
    NotDelivered,
    OrderPublisher,
    PublisherError,
    TopicUnfit,
)
from producers.encode import InvalidCommand, Publishable
from producers.flow import Flow, FlowSettings, flow, hot, resolutions, uniform
from producers.language import (
    CancelOrder,
    Deposit,
    OpenMarket,
    Outcome,
    PlaceOrder,
    ResolveMarket,
    Side,
    TimeInForce,
    Withdraw,
)
from producers.link import Ack

__all__ = [
    "Ack",
    "BrokerUnreachable",
    "CancelOrder",
    "Delivery",
    "Deposit",
    "Flow",
    "FlowSettings",
    "InvalidCommand",
    "NotDelivered",
    "OpenMarket",
    "OrderPublisher",
    "Outcome",
    "PlaceOrder",
    "Publishable",
    "PublisherError",
    "ResolveMarket",
    "Side",
    "TimeInForce",
    "TopicUnfit",
    "Withdraw",
    "flow",
    "hot",
    "resolutions",
    "uniform",
]
