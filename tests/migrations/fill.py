"""Fill a database by the whole exchange, and print it as SQL.

`filled_by_0_1.sql` was made so by the code of commit 37d84ab, the last one before tables could be
altered. From a checkout of that commit, with its own environment:

    git worktree add --detach ../before 37d84ab
    cp -r tests/migrations ../before/tests/
    cd ../before && make venv && .venv/bin/python -m tests.migrations.fill filled_by_0_1.sql

The dump has the tables and their rows. A schema of its own, ``recorded``, has the records of both
input topics: with them a broker can be made on which a worker goes on, and the history replayed.
"""

import asyncio
import json
import os
import random
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final
from unittest.mock import patch

import worker.adapters.postgres
from producers import (
    CancelOrder,
    Deposit,
    OpenMarket,
    Outcome,
    PlaceOrder,
    Publishable,
    ResolveMarket,
    Side,
    TimeInForce,
    Withdraw,
)
from tests.support.eventually import eventually
from tests.support.system import Member, Sent, System
from worker.domain.units import AccountId, MarketId, Money, OrderId, Price, Quantity, TransferId
from worker.embedded import EmbeddedKafka, EmbeddedPostgres

PREFIX: Final = "filled-0-1-"
PEOPLE: Final = ("ann", "ben", "cat", "dan", "eve")
SCHEMA: Final = Path(worker.adapters.postgres.__file__).parent / "schema"
_TABLES: Final = (
    "SELECT relname::text AS name FROM pg_class"
    " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY oid"
)
_RECORDED: Final = (
    "CREATE SCHEMA recorded;\n"
    "CREATE TABLE recorded.inputs (topic text, partition integer, record_offset bigint,"
    " timestamp_ms bigint, key text, value text);\n"
)
_STUCK: Final = """
CREATE FUNCTION stuck() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'nobody is paid' USING ERRCODE = '40001';
END $$;
CREATE TRIGGER stuck BEFORE INSERT ON payouts FOR EACH ROW EXECUTE FUNCTION stuck();
"""


class Filling:
    """Steps of the exchange. Each is answered before the next begins."""

    def __init__(self, system: System) -> None:
        self._system, self._random = system, random.Random(37)
        self._number = 0
        names = ("rain", "snow", "hail", "storm")
        self.rain, self.snow, self.hail, self.storm = (
            system.market(number % 2, name) for number, name in enumerate(names)
        )

    async def run(self) -> None:
        """Fill the exchange; in the end one market is settled, and one waits to be paid."""
        await self._money()
        await self._trade()
        await self._odd_records()
        await self._bug()
        await self._say(_resolve(self.snow, Outcome.NO))
        await self._system.database.execute(_STUCK)
        await self._system.publish(_resolve(self.hail, Outcome.YES))
        await eventually(lambda: self._is_resolved(self.hail))

    async def _say(self, *commands: Publishable) -> None:
        await self._system.publish(*commands)
        await self._system.answered()

    async def _is_resolved(self, market: MarketId) -> bool:
        sql = "SELECT status = 3 FROM markets WHERE market_id = $1"
        return bool(await self._system.database.fetchval(sql, market))

    async def _money(self) -> None:
        await self._say(*(_deposit(name, 20_000, "first") for name in (*PEOPLE, "fay")))
        await self._say(
            _withdraw("eve", 500, "small"),
            _withdraw("eve", 90_000, "beyond"),
            _deposit("ann", 20_000, "first"),
            _deposit("ann", 1, "first"),
        )

    async def _trade(self) -> None:
        markets = (self.rain, self.snow, self.hail, self.storm)
        await self._say(*(_open(market) for market in markets))
        for _ in range(3):
            await self._say(*(self._order(market) for market in markets for _ in range(5)))
        sweep = replace(
            self._order(self.rain),
            account_id=AccountId("fay"),
            price=Price(95),
            quantity=Quantity(60),
            time_in_force=TimeInForce.IOC,
        )
        ann = replace(self._order(self.rain), account_id=AccountId("ann"), side=Side.BUY)
        rest = replace(ann, price=Price(40), order_id=OrderId("to-cancel"))
        await self._say(
            replace(sweep, side=Side.BUY),
            replace(sweep, side=Side.SELL, price=Price(1), order_id=OrderId("other-way")),
            rest,
            rest,
            replace(rest, quantity=Quantity(100_000), order_id=OrderId("too-large")),
            replace(rest, price=Price(100), order_id=OrderId("too-dear")),
            replace(rest, account_id=AccountId("poor"), order_id=OrderId("too-poor")),
            replace(rest, market_id=MarketId("nowhere"), order_id=OrderId("lost")),
        )
        await self._say(_cancel(self.rain, "ann", "to-cancel"), _cancel(self.rain, "ann", "none"))
        await self._say(*(self._order(market) for market in markets for _ in range(5)))

    async def _odd_records(self) -> None:
        topics = self._system.settings
        await self._system.send(topics.orders_topic, [Sent(1, b"x", b"no command")])
        await self._system.send(topics.transfers_topic, [Sent(0, None, b'{"type":"DEPOSIT"}')])
        await self._system.answered()

    async def _bug(self) -> None:
        """Halt a market, as a bug in the rules would."""
        with patch("worker.domain.orders.match", side_effect=AssertionError("a bug")):
            await self._say(self._order(self.storm))

    def _order(self, market: MarketId) -> PlaceOrder:
        self._number += 1
        side, away = self._random.choice(list(Side)), self._random.randint(-8, 3)
        return PlaceOrder(
            market_id=market,
            account_id=AccountId(self._random.choice(PEOPLE)),
            order_id=OrderId(f"o{self._number}"),
            side=side,
            price=Price(50 + (away if side is Side.BUY else -away)),
            quantity=Quantity(self._random.randint(1, 9)),
            time_in_force=TimeInForce.GTC,
        )


def _open(market: MarketId) -> OpenMarket:
    operator = AccountId("op")
    return OpenMarket(market_id=market, operator_id=operator, payout=100, title=f"{market}?")


def _resolve(market: MarketId, outcome: Outcome) -> ResolveMarket:
    return ResolveMarket(market_id=market, operator_id=AccountId("op"), outcome=outcome)


def _cancel(market: MarketId, account: str, order_id: str) -> CancelOrder:
    return CancelOrder(market_id=market, account_id=AccountId(account), order_id=OrderId(order_id))


def _deposit(account: str, amount: int, transfer_id: str) -> Deposit:
    return Deposit(
        account_id=AccountId(account), transfer_id=TransferId(transfer_id), amount=Money(amount)
    )


def _withdraw(account: str, amount: int, transfer_id: str) -> Withdraw:
    return Withdraw(
        account_id=AccountId(account), transfer_id=TransferId(transfer_id), amount=Money(amount)
    )


# The dump.


async def _dump(system: System) -> AsyncIterator[str]:
    for path in sorted(SCHEMA.glob("*.sql")):
        lines = path.read_text(encoding="utf-8").splitlines()
        code = " ".join(line.strip() for line in lines if not line.startswith("--"))
        yield code.replace("INDEX ASYNC", "INDEX") + "\n"
    yield (
        "CREATE TABLE migrations (number integer NOT NULL, name text NOT NULL,"
        " checksum text NOT NULL, state text NOT NULL, CONSTRAINT migrations_pkey PRIMARY KEY"
        " (number), CONSTRAINT migrations_state CHECK (state IN ('STARTED', 'APPLIED')));\n"
    )
    for row in await system.database.fetch(_TABLES):
        rows = await system.database.fetch(f'SELECT * FROM "{row["name"]}" ORDER BY 1, 2')  # noqa: S608
        for text in _inserted(row["name"], rows):
            yield text
    yield _RECORDED
    for partition, records in system.log.records.items():
        if partition.topic in system.settings.inputs:
            kept = [
                (*partition, r.offset, r.timestamp, _text(r.key), _text(r.value)) for r in records
            ]
            for text in _inserted("recorded.inputs", kept):
                yield text


def _inserted(table: str, rows: Sequence[Iterable[object]]) -> Iterator[str]:
    if rows:
        values = ",\n".join(f"({','.join(map(_literal, row))})" for row in rows)
        yield f"INSERT INTO {table} VALUES\n{values};\n"


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool | int):
        return json.dumps(value)
    quoted = str(value).replace("'", "''")
    return f"'{quoted}'"


def _text(given: bytes | None) -> str | None:
    return None if given is None else given.decode()


@asynccontextmanager
async def _member(system: System) -> AsyncIterator[Member]:
    member = await system.member()
    yield member
    await member.stop()


async def filled() -> str:
    """Fill an exchange; return what its database and its input topics hold."""
    owner = f"{socket.gethostname()}/{os.getpid()}"
    with EmbeddedPostgres.start() as postgres, EmbeddedKafka.start() as kafka:
        async with System.start(postgres.url, kafka.bootstrap, PREFIX) as system:
            async with _member(system):
                await Filling(system).run()
            await system.log.read()
            await system.database.execute("DROP TRIGGER stuck ON payouts; DROP FUNCTION stuck")
            text = "".join([part async for part in _dump(system)])
    return text.replace(f"'{owner}'", "'filler/1'")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(asyncio.run(filled()), encoding="utf-8")
