"""Attacks by commands: floods of refusals, deep books, large settlements."""

from dataclasses import replace
from typing import Final

from tests.hostile.attack import RICH, Kind, open_target, publish, target
from tests.hostile.scene import ATTACKED, Scene
from tests.support.books import buy, cancel, deposit, resolve, sell, withdraw
from worker.domain.units import AccountId

FLOOD: Final = 250
"""Commands of a burst."""
MAKERS: Final = 20_000
TAKERS: Final = 400
PENNILESS: Final = 300
HOLDERS: Final = 10_000


# Refusals.


async def _flood_resolutions(scene: Scene, number: int) -> int:
    """Resolve unknown markets, and a market of another operator."""
    stranger = replace(resolve(target(scene)), operator_id=AccountId("stranger"))
    unknown = [resolve(scene.system.market(ATTACKED, f"no-{number}-{n}")) for n in range(63)]
    return await publish(scene, [*unknown, *[stranger] * len(unknown)])


async def _flood_cancels(scene: Scene, number: int) -> int:
    market = target(scene)
    return await publish(
        scene, [cancel(market, "nobody", f"no-{number}-{n}") for n in range(FLOOD)]
    )


async def _prepare_duplicates(scene: Scene) -> None:
    await open_target(scene)
    await _flood_duplicates(scene, 0)


async def _flood_duplicates(scene: Scene, _number: int) -> int:
    market = target(scene)
    return await publish(
        scene, [buy(market, "whale", 1, 1 + n % 40, f"again-{n}") for n in range(FLOOD)]
    )


# Deep books.


async def _prepare_makers(scene: Scene) -> None:
    """Let many accounts each rest a sell of 1 at the same price."""
    makers = [f"maker-{n}" for n in range(MAKERS)]
    await open_target(scene)
    await publish(scene, [deposit(f"taker-{n}", RICH) for n in range(TAKERS)])
    await publish(scene, [deposit(maker, 100) for maker in makers])
    await scene.prepared()
    await publish(scene, [sell(target(scene), maker, 1, 50) for maker in makers])


async def _sweep(scene: Scene, _number: int) -> int:
    return await publish(scene, [buy(target(scene), "whale", MAKERS, 50)])


async def _take(scene: Scene, number: int) -> int:
    market = target(scene)
    takers = [buy(market, f"taker-{n}", 1, 50, f"take-{number}") for n in range(TAKERS)]
    return await publish(scene, takers)


async def _prepare_penniless(scene: Scene) -> None:
    """Let makers withdraw all their money while their orders rest."""
    makers = [f"maker-{n}" for n in range(PENNILESS)]
    market = target(scene)
    await open_target(scene)
    await publish(scene, [deposit(maker, 100) for maker in makers])
    await scene.prepared()
    await publish(scene, [sell(market, maker, 1, 50) for maker in makers])
    await scene.prepared()
    await publish(scene, [withdraw(maker, 100) for maker in makers])


async def _meet_penniless(scene: Scene, _number: int) -> int:
    return await publish(scene, [buy(target(scene), "whale", 1, 50)])


async def _prepare_holders(scene: Scene) -> None:
    """Let many accounts each buy a contract."""
    holders = [f"holder-{n}" for n in range(HOLDERS)]
    market = target(scene)
    await open_target(scene)
    await publish(scene, [deposit(holder, 100) for holder in holders])
    await scene.prepared()
    await publish(scene, [sell(market, "whale", HOLDERS, 50)])
    await publish(scene, [buy(market, holder, 1, 50) for holder in holders])


async def _settle(scene: Scene, _number: int) -> int:
    return await publish(scene, [resolve(target(scene))])


ORDERS: Final[dict[str, Kind]] = {
    "resolutions": Kind(
        does="resolutions of unknown markets and by strangers",
        burst=_flood_resolutions,
        prepare=open_target,
        every_s=0.25,
    ),
    "cancels": Kind(
        does="cancels of unknown orders",
        burst=_flood_cancels,
        prepare=open_target,
        every_s=0.25,
    ),
    "duplicates": Kind(
        does="the same orders again and again",
        burst=_flood_duplicates,
        prepare=_prepare_duplicates,
        every_s=0.25,
    ),
    "sweep": Kind(
        does=f"one order against {MAKERS:,} makers, all unknown to a new owner",
        burst=_sweep,
        prepare=_prepare_makers,
        bursts_max=1,
        is_cold=True,
    ),
    "takers": Kind(
        does=f"{TAKERS} orders at a time against a level of {MAKERS:,} unknown makers",
        burst=_take,
        prepare=_prepare_makers,
        every_s=2.0,
        is_cold=True,
    ),
    "penniless": Kind(
        does=f"an order against {PENNILESS} makers without money, unknown to a new owner",
        burst=_meet_penniless,
        prepare=_prepare_penniless,
        bursts_max=1,
        is_cold=True,
    ),
    "settlement": Kind(
        does=f"the settlement of {HOLDERS:,} holders",
        burst=_settle,
        prepare=_prepare_holders,
        bursts_max=1,
    ),
}
