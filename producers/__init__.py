"""What upstream services use to send commands, and the flows that exercise the exchange.

client: OrderPublisher, typed, in order per key, at least once. link: its connection, the only
module here that meets aiokafka. commands: what may be sent. flow: seed -> commands, pure. load: a
process of its own that publishes a flow.
Nothing here knows how the worker decides: only `worker.wire` and `worker.domain` are shared.
"""

from producers.client import (
    BrokerUnreachable,
    Delivery,
    NotDelivered,
    OrderPublisher,
    PublisherError,
    TopicUnfit,
)
from producers.commands import InvalidCommand, Publishable
from producers.flow import Flow, FlowSettings, flow, hot, resolutions, uniform
from producers.link import Ack
from worker.domain.commands import (
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
