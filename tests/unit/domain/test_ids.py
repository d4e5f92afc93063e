"""The partition of a market is the same for every producer, in any language."""

import pytest

from producers.language import murmur2, partition_of
from worker.domain.ids import (
    EXTERNAL,
    account_key,
    market_key,
    order_key,
    transfer_key,
)
from worker.domain.units import AccountId, MarketId, OrderId, TransferId


def signed(number: int) -> int:
    return number - 2**32 if number >= 2**31 else number


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # org.apache.kafka.common.utils.UtilsTest
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
        # Measured with aiokafka, which agrees with Java.
        (b"BTC-2026-DEC", -2003552891),
    ],
)
def test_murmur2_is_kafkas(data: bytes, expected: int) -> None:
    assert signed(murmur2(data)) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("BTC-2026-DEC", (9, 21, 21, 57)),
        ("ETH-2026-DEC", (3, 3, 27, 3)),
        ("market-0", (5, 5, 29, 5)),
        ("market-1", (2, 14, 38, 50)),
        ("RAIN.LONDON.20261201", (6, 6, 6, 18)),
        ("é", (3, 15, 39, 51)),
    ],
)
def test_partition_is_that_of_kafkas_default_partitioner(
    key: str, expected: tuple[int, int, int, int]
) -> None:
    assert tuple(partition_of(key, count) for count in (12, 24, 48, 60)) == expected


def test_ids_are_stable_and_distinct() -> None:
    account, market = account_key(AccountId("a")), market_key("s", MarketId("a"))
    keys = {
        EXTERNAL,
        account,
        market,
        market_key("other", MarketId("a")),
        order_key(market, account, OrderId("a")),
        transfer_key(account, TransferId("a")),
    }

    assert len(keys) == 6
    assert account == account_key(AccountId("a"))
