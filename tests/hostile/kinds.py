"""All kinds of attack by name."""

from typing import Final

from tests.hostile.attack import Kind
from tests.hostile.clients import REQUESTS
from tests.hostile.orders import ORDERS
from tests.hostile.records import RECORDS

KINDS: Final[dict[str, Kind]] = {**RECORDS, **ORDERS, **REQUESTS}
