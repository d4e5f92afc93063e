"""Attacks by clients of the HTTP endpoints."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

import aiohttp
from yarl import URL

from tests.hostile.attack import RICH, Kind, open_target, publish, target
from tests.hostile.scene import Scene
from tests.support.books import buy, deposit, open_market

CLIENTS: Final = 20
LEVELS: Final = 1_000
ORDERS_PER_LEVEL: Final = 20
NAME_CHARS: Final = 6_000
DIGITS: Final = 4_400
EVERY_S: Final = 0.2
"""Pause between the requests of a client. Without any, the clients would take the processors."""


async def _prepare_levels(scene: Scene) -> None:
    market = target(scene)
    traders = [f"trader-{n}" for n in range(ORDERS_PER_LEVEL)]
    await publish(scene, [deposit(trader, RICH) for trader in traders])
    await scene.prepared()
    await publish(scene, [open_market(market, payout=1_000_000)])
    orders = [buy(market, t, 1, 1 + level) for level in range(LEVELS) for t in traders]
    await publish(scene, orders)


async def _ask_for_book(scene: Scene, _number: int) -> int:
    return await _ask(scene, [f"/api/markets/{target(scene)}/book?levels={LEVELS}"] * CLIENTS)


async def _ask_for_names(scene: Scene, number: int) -> int:
    names = [f"invented-{number}-{n}-{'x' * NAME_CHARS}" for n in range(CLIENTS)]
    return await _ask(scene, [f"/api/markets/{name}/book" for name in names])


async def _ask_for_proof(scene: Scene, _number: int) -> int:
    return await _ask(scene, ["/api/proof"] * CLIENTS)


async def _ask_oddly(scene: Scene, _number: int) -> int:
    """Ask with numbers of thousands of digits, and with control characters and half characters."""
    book = f"/api/markets/{target(scene)}/book?levels="
    digits = ("1" + "0" * DIGITS, "0" * DIGITS + "1", "-" + "1" * DIGITS)
    names = ("%1b%5b31m", "%00%0a%0d", "%ED%A0%80", "..%2f..%2fetc%2fpasswd")
    paths = [f"{book}{number}" for number in digits]
    paths += [f"/api/markets/{name}/book" for name in names]
    return await _ask(scene, paths * (CLIENTS // len(paths)))


async def _ask(scene: Scene, paths: Sequence[str]) -> int:
    """Ask both workers for all paths at the same time. A refused connection is no error."""

    async def get(client: aiohttp.ClientSession, url: str) -> None:
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with client.get(URL(url, encoded=True)) as answer:
                await answer.read()

    urls = [f"http://127.0.0.1:{port}{path}" for port in scene.ports() for path in paths]
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout) as client:
        await asyncio.gather(*(get(client, url) for url in urls))
    return len(urls)


REQUESTS: Final[dict[str, Kind]] = {
    "http-book": Kind(
        does=f"{CLIENTS} clients per worker that read {LEVELS:,} levels",
        burst=_ask_for_book,
        prepare=_prepare_levels,
        every_s=EVERY_S,
    ),
    "http-names": Kind(
        does="clients that ask for invented markets of long names",
        burst=_ask_for_names,
        every_s=EVERY_S,
    ),
    "http-proof": Kind(
        does="clients that ask for the proof",
        burst=_ask_for_proof,
        prepare=open_target,
        every_s=EVERY_S,
    ),
    "http-odd": Kind(
        does=f"numbers of {DIGITS:,} digits, names with control characters",
        burst=_ask_oddly,
        prepare=open_target,
        every_s=EVERY_S,
    ),
}
