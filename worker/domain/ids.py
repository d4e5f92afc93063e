"""Ids are computed, never drawn: a uuid5 of what they name. Never change one: rows use it.

Names are prefixed by their kind and joined by ``/``, which no client's id contains. Also here: the
partitioner, because where a market lives is a rule.
"""

from functools import lru_cache
from hashlib import sha1
from typing import Final
from uuid import UUID

from worker.domain.units import AccountId, Lane, MarketId, OrderId, TransferId

_NAMESPACE: Final = UUID("6f3c1a52-2a0e-5c55-9f0e-0a8f3f7c1d11").bytes
_VARIANTS: Final = "89ab" * 4
_CACHED_IDS_MAX: Final = 65_536


def _named(name: str) -> str:
    """Return ``str(uuid5(_NAMESPACE, name))``, in a fifth of its time: several go into an order."""
    digits = sha1(_NAMESPACE + name.encode(), usedforsecurity=False).hexdigest()
    variant = _VARIANTS[int(digits[16], 16)]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


EXTERNAL: Final = _named("external")
"""The account money comes from and goes to. No client's id can produce it."""
NO_MARKET: Final = str(UUID(int=0))
"""The market of a ledger row that belongs to none."""


@lru_cache(_CACHED_IDS_MAX)
def account_key(account_id: AccountId) -> str:
    """Return the key of an account."""
    return _named(f"account/{account_id}")


@lru_cache(_CACHED_IDS_MAX)
def market_key(stream: str, market_id: MarketId) -> str:
    """Return the key of a market; another incarnation of the topic is another market."""
    return _named(f"market/{stream}/{market_id}")


def order_key(market: str, account: str, order_id: OrderId) -> str:
    """Return the key of an order, always under its market, which one lane owns."""
    return _named(f"order/{market}/{account}/{order_id}")


def transfer_key(account: str, transfer_id: TransferId) -> str:
    """Return the key of a deposit or withdrawal, the same in every stream."""
    return _named(f"transfer/{account}/{transfer_id}")


def trade_key(lane: Lane, offset: int, index: int) -> str:
    """Return the key of the trade that is event ``index`` of the taker at ``offset``."""
    return _named(f"trade/{lane}/{offset}/{index}")


def draw_key(lane: Lane, batch_no: int, account: str, source: Lane) -> str:
    """Return the cause of all that a batch draws from one pocket."""
    return _named(f"draw/{lane}/{batch_no}/{account}/{source}")


def batch_key(lane: Lane, batch_no: int) -> str:
    """Return the key of a batch."""
    return _named(f"batch/{lane}/{batch_no}")


@lru_cache(_CACHED_IDS_MAX)
def partition_of(key: str, partitions: int) -> int:
    """Return the partition where ``key`` lives: Kafka's default partitioner, murmur2."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Return Kafka's 32-bit murmur2 of ``data``, unsigned (``org.apache.kafka.common.utils``)."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = (0x9747B28C ^ len(data)) & mask
    body = len(data) & ~3
    for i in range(0, body, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    if body < len(data):
        h = (h ^ int.from_bytes(data[body:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15
