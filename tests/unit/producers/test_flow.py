"""Flows of commands. They depend on the seed alone and have the promised kinds."""

from collections import Counter
from collections.abc import Callable
from itertools import islice, pairwise

import pytest

from producers.encode import Publishable, check, encode
from producers.flow import (
    ORDERS,
    POOR,
    REFUSED,
    Flow,
    FlowSettings,
    Kind,
    flow,
    hot,
    resolutions,
    uniform,
)
from worker.domain.commands import (
    CancelOrder,
    Deposit,
    OpenMarket,
    Outcome,
    PlaceOrder,
    Side,
    TimeInForce,
    Withdraw,
)
from worker.domain.ids import partition_of
from worker.wire.decode import decode_order, decode_transfer

SMALL = FlowSettings(seed=3, markets=5, accounts=40, orders=800)
FLOWS = [flow, uniform, hot]


def wire(commands: list[Publishable]) -> list[bytes]:
    return [encode(command) for command in commands]


def placed(commands: list[Publishable]) -> list[PlaceOrder]:
    return [command for command in commands if isinstance(command, PlaceOrder)]


@pytest.fixture(scope="module")
def crowd() -> tuple[Flow, list[Publishable]]:
    subject = flow(FlowSettings())
    return subject, list(subject)


@pytest.mark.parametrize("make", FLOWS)
def test_same_seed_gives_same_bytes(make: Callable[[FlowSettings], Flow]) -> None:
    assert wire(list(make(SMALL))) == wire(list(make(SMALL)))


@pytest.mark.parametrize("make", FLOWS)
def test_flows_of_two_seeds_share_no_ids(
    make: Callable[[FlowSettings], Flow],
) -> None:
    def names(seed: int) -> set[str]:
        orders = placed(list(make(FlowSettings(seed=seed, orders=300))))
        return {order.market_id for order in orders} | {order.account_id for order in orders}

    assert not names(1) & names(11)


@pytest.mark.parametrize("make", FLOWS)
def test_worker_decodes_every_command(
    make: Callable[[FlowSettings], Flow],
) -> None:
    for command in [*make(SMALL), *resolutions(SMALL)]:
        check(command)
        decode = decode_transfer if isinstance(command, Deposit | Withdraw) else decode_order
        assert decode(None, encode(command), ()) == command


@pytest.mark.parametrize("make", FLOWS)
@pytest.mark.parametrize("orders", [0, 1, 7, 1_000])
def test_flow_has_exact_number_of_orders(make: Callable[[FlowSettings], Flow], orders: int) -> None:
    subject = make(FlowSettings(orders=orders))

    assert len(placed(list(subject))) == orders
    assert subject.orders == orders


@pytest.mark.parametrize("make", FLOWS)
def test_markets_and_deposits_come_before_orders(
    make: Callable[[FlowSettings], Flow],
) -> None:
    commands = list(make(SMALL))
    kinds = [type(command) for command in commands]
    first_order = kinds.index(PlaceOrder)

    assert kinds[: SMALL.markets] == [OpenMarket] * SMALL.markets
    assert set(kinds[SMALL.markets : first_order]) == {Deposit}


def test_summary_counts_every_command_once(crowd: tuple[Flow, list[Publishable]]) -> None:
    subject, commands = crowd

    assert subject.summary.total() == len(commands)
    assert sum(subject.summary[kind] for kind in ORDERS) == len(placed(commands))
    assert set(subject.summary) == set(Kind)


def test_kinds_have_their_shares(crowd: tuple[Flow, list[Publishable]]) -> None:
    subject, _ = crowd

    assert subject.orders == 10_000
    assert subject.refused >= 0.05 * subject.orders
    assert subject.summary[Kind.DUPLICATE] >= 0.01 * subject.orders
    assert subject.summary[Kind.CONFLICT] >= 50
    assert min(subject.summary[kind] for kind in REFUSED) >= 50


def test_duplicate_is_equal_and_conflict_differs(
    crowd: tuple[Flow, list[Publishable]],
) -> None:
    subject, commands = crowd
    known: dict[tuple[str, str, str], PlaceOrder] = {}
    repeats: Counter[bool] = Counter()
    for order in placed(commands):
        name = (order.market_id, order.account_id, order.order_id)
        if name in known:
            repeats[order == known[name]] += 1
        known.setdefault(name, order)

    assert repeats[True] == subject.summary[Kind.DUPLICATE]
    assert repeats[False] == subject.summary[Kind.CONFLICT]


def test_poor_accounts_can_never_pay(crowd: tuple[Flow, list[Publishable]]) -> None:
    _, commands = crowd
    payouts = {c.market_id: c.payout for c in commands if isinstance(c, OpenMarket)}
    deposits: Counter[str] = Counter()
    for command in commands:
        if isinstance(command, Deposit):
            deposits[command.account_id] += command.amount
    poor = [order for order in placed(commands) if deposits[order.account_id] == POOR]

    assert len(poor) > 100
    for order in poor:
        each = order.price if order.side is Side.BUY else payouts[order.market_id] - order.price
        assert each * order.quantity > POOR


def test_sweep_exceeds_rows_of_batch(
    crowd: tuple[Flow, list[Publishable]],
) -> None:
    _, commands = crowd
    orders = placed(commands)
    at = [order.account_id for order in orders].index(FlowSettings().whale)
    taker, makers = orders[at], orders[at - 600 : at]

    assert {(one.market_id, one.side, one.quantity) for one in makers} == {
        (taker.market_id, Side.SELL, 1)
    }
    assert all(one.price < taker.price for one in makers)
    assert len({one.account_id for one in makers}) > 400
    assert taker.time_in_force is TimeInForce.IOC


def test_accounts_trade_in_markets_of_many_partitions(
    crowd: tuple[Flow, list[Publishable]],
) -> None:
    _, commands = crowd
    moves = 0
    lanes: dict[str, list[int]] = {}
    for order in placed(commands):
        lanes.setdefault(order.account_id, []).append(partition_of(order.market_id, 12))
    for visited in lanes.values():
        moves += sum(one != other for one, other in pairwise(visited))

    assert moves > 1_000


def test_cancels_name_live_old_and_unknown_orders(crowd: tuple[Flow, list[Publishable]]) -> None:
    _, commands = crowd
    known: set[tuple[str, str]] = set()
    cancelled: Counter[tuple[str, str]] = Counter()
    unknown = 0
    for command in commands:
        if isinstance(command, PlaceOrder):
            known.add((command.market_id, command.order_id))
        elif isinstance(command, CancelOrder):
            name = (command.market_id, command.order_id)
            unknown += name not in known
            cancelled[name] += 1

    assert unknown > 50
    assert len(cancelled) > 500
    assert max(cancelled.values()) > 1


@pytest.mark.parametrize("make", [uniform, hot])
def test_measured_flows_fill_every_second_order(
    make: Callable[[FlowSettings], Flow],
) -> None:
    waiting: dict[str, PlaceOrder] = {}
    fills = 0
    for order in placed(list(make(FlowSettings(orders=4_000)))):
        resting = waiting.pop(order.market_id, None)
        if resting is None:
            waiting[order.market_id] = order
            continue
        fills += 1
        assert (order.side, order.price) == (resting.side.opposite, resting.price)
        assert order.account_id != resting.account_id

    assert 1_980 <= fills <= 2_000


def test_hot_flow_has_maker_on_half_the_fills() -> None:
    settings = FlowSettings(orders=4_000)
    orders = placed(list(hot(settings)))
    busiest = Counter(order.account_id for order in orders).most_common(2)

    assert busiest[0][0] == settings.maker
    assert busiest[0][1] == pytest.approx(1_000, rel=0.1)
    assert busiest[1][1] > 100


def test_every_market_gets_outcome_from_seed() -> None:
    ends = list(resolutions(FlowSettings()))

    assert ends == list(resolutions(FlowSettings()))
    assert [end.market_id for end in ends] == [FlowSettings().market(n) for n in range(24)]
    assert {end.outcome for end in ends} == {Outcome.YES, Outcome.NO}


def test_long_flow_starts_at_once() -> None:
    assert len(list(islice(flow(FlowSettings(orders=10**9)), 2_000))) == 2_000


@pytest.mark.parametrize(
    "wrong", [{"markets": 0}, {"accounts": 3}, {"orders": -1}, {"payouts": (1,)}, {"payouts": ()}]
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FlowSettings(**wrong)  # type: ignore[arg-type]
