"""Ids, each computed as a uuid5 of a name. No id is random, and none may change, since rows use it.

A name begins with its kind, and its parts are joined by ``/``, which no client's id contains. The
partitioner is of the language of senders.
"""

from functools import lru_cache
from hashlib import sha1
from typing import Final
from uuid import UUID

from producers.language import partition_by_murmur2, partition_of
from worker.domain.units import AccountId, LaneId, MarketId, OrderId, TransferId

__all__ = [
    "EXTERNAL",
    "NO_MARKET",
    "account_key",
    "batch_key",
    "draw_key",
    "market_key",
    "order_key",
    "partition_by_murmur2",
    "partition_of",
    "trade_key",
    "transfer_key",
]

_NAMESPACE: Final = UUID("6f3c1a52-2a0e-5c55-9f0e-0a8f3f7c1d11").bytes
_VARIANTS: Final = "89ab" * 4
_CACHED_IDS_MAX: Final = 65_536


def _named(name: str) -> str:
    """Return ``str(uuid5(_NAMESPACE, name))`` in a fifth of its time. An order needs several."""
    digits = sha1(_NAMESPACE + name.encode(), usedforsecurity=False).hexdigest()
    variant = _VARIANTS[int(digits[16], 16)]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


EXTERNAL: Final = _named("external")
"""The account that deposits come from and withdrawals go to. No client's id produces its key."""
NO_MARKET: Final = str(UUID(int=0))
"""The market of a ledger row that belongs to no market."""


@lru_cache(_CACHED_IDS_MAX)
def account_key(account_id: AccountId) -> str:
    """Return the key of an account."""
    return _named(f"account/{account_id}")


@lru_cache(_CACHED_IDS_MAX)
def market_key(stream: str, market_id: MarketId) -> str:
    """Return the key of a market. The same id in a recreated topic is another market."""
    return _named(f"market/{stream}/{market_id}")


def order_key(market: str, account: str, order_id: OrderId) -> str:
    """Return the key of an order, always under its market, which one lane owns."""
    return _named(f"order/{market}/{account}/{order_id}")


def transfer_key(account: str, transfer_id: TransferId) -> str:
    """Return the key of a deposit or withdrawal, the same in every stream."""
    return _named(f"transfer/{account}/{transfer_id}")


def trade_key(lane: LaneId, offset: int, index: int) -> str:
    """Return the key of the trade that is event ``index`` of the taker at ``offset``."""
    return _named(f"trade/{lane}/{offset}/{index}")


def draw_key(lane: LaneId, batch_no: int, account: str, source: LaneId) -> str:
    """Return the cause of all that a batch draws from one pocket."""
    return _named(f"draw/{lane}/{batch_no}/{account}/{source}")


def batch_key(lane: LaneId, batch_no: int) -> str:
    """Return the key of a batch."""
    return _named(f"batch/{lane}/{batch_no}")
