"""One market's open orders, in price-time priority.

Prices are sparse: only levels that hold an order exist, so a payout of a million costs nothing.
Order: best price first, and within a price the order accepted first. Every change is undoable
until ``keep``: a batch is planned on the book itself and taken back when it does not commit.
Not guaranteed: that the book is uncrossed; matching sees to it.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from worker.domain.commands import Side
from worker.domain.units import AccountId, OrderId, Price, Quantity
from worker.domain.values import value

OrderName = tuple[AccountId, OrderId]
"""What names an order within its market."""


@value
class OpenOrder:
    """An open order. ``seq`` is its acceptance in the lane, its rank within a price."""

    key: str
    account_id: AccountId
    order_id: OrderId
    side: Side
    price: Price
    leaves: Quantity
    seq: int

    @property
    def name(self) -> OrderName:
        """Return what names it within its market."""
        return (self.account_id, self.order_id)

    def left(self, leaves: Quantity) -> "OpenOrder":
        """Return it with so much still open."""
        if leaves == self.leaves:
            return self
        return OpenOrder(
            self.key, self.account_id, self.order_id, self.side, self.price, leaves, self.seq
        )


@dataclass(slots=True)
class _Level:
    """One price. ``queue[head:]`` in priority; names no longer live are skipped."""

    price: Price
    queue: list[OrderName] = field(default_factory=list)
    head: int = 0
    live: int = 0


class Book:
    """The open orders of one market, both sides."""

    __slots__ = ("_levels", "_orders", "_owned", "_ranks", "_trail")

    def __init__(self) -> None:
        self._orders: dict[OrderName, OpenOrder] = {}
        self._owned: dict[AccountId, int] = {}
        self._levels: dict[Side, dict[Price, _Level]] = {Side.BUY: {}, Side.SELL: {}}
        # Ascending ranks: the best price is last, where taking it off is cheap.
        self._ranks: dict[Side, list[int]] = {Side.BUY: [], Side.SELL: []}
        self._trail: list[tuple[Callable[..., None], tuple[object, ...]]] = []

    def get(self, name: OrderName) -> OpenOrder | None:
        """Return the open order of that name."""
        return self._orders.get(name)

    def __len__(self) -> int:
        return len(self._orders)

    def open_orders(self, account_id: AccountId) -> int:
        """Return how many orders of the account are open here."""
        return self._owned.get(account_id, 0)

    def best(self, side: Side) -> OpenOrder | None:
        """Return the order of ``side`` that trades first."""
        ranks = self._ranks[side]
        if not ranks:
            return None
        level = self._levels[side][_price(side, ranks[-1])]
        head, queue, orders = level.head, level.queue, self._orders
        while queue[head] not in orders:
            head += 1
        if head != level.head:
            self._trail.append((_set_head, (level, level.head)))
            level.head = head
        return orders[queue[head]]

    def priority(self, side: Side) -> Iterator[OpenOrder]:
        """Yield the orders of ``side`` in the order in which they trade. Do not change the book."""
        for rank in reversed(self._ranks[side]):
            level = self._levels[side][_price(side, rank)]
            for name in level.queue[level.head :]:
                order = self._orders.get(name)
                if order is not None:
                    yield order

    def add(self, order: OpenOrder) -> None:
        """Put an order at the end of its price's queue."""
        assert order.name not in self._orders, "an order rests once"
        self._insert(order)
        self._trail.append((self._take_back, (order,)))

    def fill(self, order: OpenOrder, quantity: Quantity) -> None:
        """Take ``quantity`` off an open order, which keeps its place, or leaves when it is done."""
        if quantity == order.leaves:
            self.remove(order)
        else:
            self._orders[order.name] = order.left(Quantity(order.leaves - quantity))
            self._trail.append((self._restore, (order,)))

    def remove(self, order: OpenOrder) -> None:
        """Take an open order out."""
        del self._orders[order.name]
        self._own(order.account_id, -1)
        level = self._levels[order.side][order.price]
        level.live -= 1
        if not level.live:
            self._drop_level(order.side, level)
        self._trail.append((self._put_back, (order, level)))

    def undo(self) -> None:
        """Take back every change since the last ``keep``."""
        while self._trail:
            action, arguments = self._trail.pop()
            action(*arguments)

    def keep(self) -> None:
        """Make the changes final, and sweep out names that died."""
        for _action, arguments in self._trail:
            level = arguments[-1]
            if isinstance(level, _Level) and len(level.queue) > 2 * level.live + _DEAD_NAMES_MAX:
                level.queue = [n for n in level.queue[level.head :] if n in self._orders]
                level.head = 0
        self._trail.clear()

    def depth(self, side: Side, levels_max: int) -> list[tuple[Price, int, int]]:
        """Return (price, quantity, orders) of the best levels."""
        found: dict[Price, tuple[int, int]] = {}
        for order in self.priority(side):
            quantity, count = found.get(order.price, (0, 0))
            if not count and len(found) == levels_max:
                break
            found[order.price] = (quantity + order.leaves, count + 1)
        return [(price, quantity, count) for price, (quantity, count) in found.items()]

    def _insert(self, order: OpenOrder) -> None:
        levels = self._levels[order.side]
        level = levels.get(order.price)
        if level is None:
            level = levels[order.price] = _Level(order.price)
            insort(self._ranks[order.side], _rank(order.side, order.price))
        level.queue.append(order.name)
        level.live += 1
        self._orders[order.name] = order
        self._own(order.account_id, 1)

    def _own(self, account_id: AccountId, change: int) -> None:
        count = self._owned.get(account_id, 0) + change
        if count:
            self._owned[account_id] = count
        else:
            del self._owned[account_id]

    def _drop_level(self, side: Side, level: _Level) -> None:
        del self._levels[side][level.price]
        ranks = self._ranks[side]
        del ranks[bisect_left(ranks, _rank(side, level.price))]

    def _take_back(self, order: OpenOrder) -> None:
        level = self._levels[order.side][order.price]
        level.queue.pop()
        level.live -= 1
        del self._orders[order.name]
        self._own(order.account_id, -1)
        if not level.live:
            self._drop_level(order.side, level)

    def _restore(self, order: OpenOrder) -> None:
        self._orders[order.name] = order

    def _put_back(self, order: OpenOrder, level: _Level) -> None:
        if not level.live:
            self._levels[order.side][order.price] = level
            insort(self._ranks[order.side], _rank(order.side, order.price))
        level.live += 1
        self._orders[order.name] = order
        self._own(order.account_id, 1)


_DEAD_NAMES_MAX = 64


def _rank(side: Side, price: Price) -> int:
    return price if side is Side.BUY else -price


def _price(side: Side, rank: int) -> Price:
    return Price(rank if side is Side.BUY else -rank)


def _set_head(level: _Level, head: int) -> None:
    level.head = head
