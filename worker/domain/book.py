"""One market's open orders, in price-time priority.

The best price comes first, and within a price the order that was accepted first. Only prices that
have an order take memory, so a payout of a million costs nothing. A batch is planned on the book
itself, and ``undo`` takes it back if it does not commit. ``keep`` makes the changes final. The book
does not keep its sides from crossing. Matching does.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from producers.language import value
from worker.domain.commands import Side
from worker.domain.units import AccountId, OrderId, Price, Quantity

OrderName = tuple[AccountId, OrderId]
"""The key of an order within its market."""


@value
class OpenOrder:
    """An open order. ``seq`` is that of its acceptance, and its rank within a price."""

    key: str
    account_id: AccountId
    order_id: OrderId
    side: Side
    price: Price
    leaves: Quantity
    seq: int

    @property
    def name(self) -> OrderName:
        """Return the order's key within its market."""
        return (self.account_id, self.order_id)

    def left(self, leaves: Quantity) -> "OpenOrder":
        """Return the order with ``leaves`` contracts still open."""
        if leaves == self.leaves:
            return self
        return OpenOrder(
            self.key, self.account_id, self.order_id, self.side, self.price, leaves, self.seq
        )


@dataclass(slots=True)
class _Level:
    """The orders at one price: ``live`` orders with ``quantity`` contracts open in all.

    ``queue[head:]`` has their ``seq`` in priority.

    Orders that are no longer open stay in the queue, and readers skip them. The queue does not have
    names, since a name may be sent again before its first answer was read. The new order may then
    be planned into the same queue, where the dead one still has a place.
    """

    price: Price
    queue: list[int] = field(default_factory=list)
    head: int = 0
    live: int = 0
    quantity: int = 0


@dataclass(slots=True)
class Count:
    """The open orders of all books that share it."""

    orders: int = 0


class Book:
    """The open orders of one market, both sides."""

    __slots__ = ("_count", "_levels", "_names", "_orders", "_owned", "_ranks", "_trail")

    def __init__(self, count: Count | None = None) -> None:
        """``count`` is shared with the other books of the lane."""
        self._count = count or Count()
        self._orders: dict[int, OpenOrder] = {}
        self._names: dict[OrderName, int] = {}
        self._owned: dict[AccountId, int] = {}
        self._levels: dict[Side, dict[Price, _Level]] = {Side.BUY: {}, Side.SELL: {}}
        # Ranks ascend, since removing the best price is cheap at the end of the list.
        self._ranks: dict[Side, list[int]] = {Side.BUY: [], Side.SELL: []}
        self._trail: list[tuple[Callable[..., None], tuple[object, ...]]] = []

    def get(self, name: OrderName) -> OpenOrder | None:
        """Return the open order of that name."""
        seq = self._names.get(name)
        return None if seq is None else self._orders[seq]

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
            # Not a slice, since a level may have half a million orders, and few callers read all.
            for at in range(level.head, len(level.queue)):
                order = self._orders.get(level.queue[at])
                if order is not None:
                    yield order

    def add(self, order: OpenOrder) -> None:
        """Put an order at the end of its price's queue."""
        assert order.name not in self._names, "an order rests once"
        self._insert(order)
        self._trail.append((self._take_back, (order,)))

    def fill(self, order: OpenOrder, quantity: Quantity) -> None:
        """Take ``quantity`` off an open order. It keeps its place until it is filled."""
        if quantity == order.leaves:
            self.remove(order)
        else:
            self._orders[order.seq] = order.left(Quantity(order.leaves - quantity))
            self._levels[order.side][order.price].quantity -= quantity
            self._trail.append((self._restore, (order,)))

    def remove(self, order: OpenOrder) -> None:
        """Take an open order out of the book."""
        self._forget(order)
        level = self._levels[order.side][order.price]
        level.live -= 1
        level.quantity -= order.leaves
        if not level.live:
            self._drop_level(order.side, level)
        self._trail.append((self._put_back, (order, level)))

    @property
    def changes(self) -> int:
        """Return how many changes ``undo`` would take back."""
        return len(self._trail)

    def undo(self, down_to: int = 0) -> None:
        """Take back changes, the latest first, down to the first ``down_to`` since ``keep``."""
        while len(self._trail) > down_to:
            action, arguments = self._trail.pop()
            action(*arguments)

    def keep(self) -> None:
        """Make the changes final, and remove dead orders from long queues."""
        for _action, arguments in self._trail:
            level = arguments[-1]
            if isinstance(level, _Level) and len(level.queue) > 2 * level.live + _DEAD_NAMES_MAX:
                level.queue = [n for n in level.queue[level.head :] if n in self._orders]
                level.head = 0
        self._trail.clear()

    def depth(self, side: Side, levels_max: int) -> list[tuple[Price, int, int]]:
        """Return (price, quantity, orders) of the best levels, at a cost that no order adds to."""
        levels = self._levels[side]
        best = islice(reversed(self._ranks[side]), levels_max)
        shown = [levels[_price(side, rank)] for rank in best]
        return [(level.price, level.quantity, level.live) for level in shown]

    def _insert(self, order: OpenOrder) -> None:
        levels = self._levels[order.side]
        level = levels.get(order.price)
        if level is None:
            level = levels[order.price] = _Level(order.price)
            insort(self._ranks[order.side], _rank(order.side, order.price))
        level.queue.append(order.seq)
        level.live += 1
        level.quantity += order.leaves
        self._remember(order)

    def _remember(self, order: OpenOrder) -> None:
        self._orders[order.seq] = order
        self._names[order.name] = order.seq
        self._count.orders += 1
        self._own(order.account_id, 1)

    def _forget(self, order: OpenOrder) -> None:
        del self._orders[order.seq]
        del self._names[order.name]
        self._count.orders -= 1
        self._own(order.account_id, -1)

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
        level.quantity -= order.leaves
        self._forget(order)
        if not level.live:
            self._drop_level(order.side, level)

    def _restore(self, order: OpenOrder) -> None:
        level = self._levels[order.side][order.price]
        level.quantity += order.leaves - self._orders[order.seq].leaves
        self._orders[order.seq] = order

    def _put_back(self, order: OpenOrder, level: _Level) -> None:
        if not level.live:
            self._levels[order.side][order.price] = level
            insort(self._ranks[order.side], _rank(order.side, order.price))
        level.live += 1
        level.quantity += order.leaves
        self._remember(order)


_DEAD_NAMES_MAX = 64
# Looked up once, because Python takes 0.06 us for a member of an enum.
_BUY: Final = Side.BUY


def _rank(side: Side, price: Price) -> int:
    return price if side is _BUY else -price


def _price(side: Side, rank: int) -> Price:
    return Price(rank if side is _BUY else -rank)


def _set_head(level: _Level, head: int) -> None:
    level.head = head
