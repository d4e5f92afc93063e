"""Views of a lane's state from outside."""

import pytest

from tests.support.fake_store import FakeBooks
from worker.domain.state import LaneState
from worker.errors import Fenced
from worker.views import Views


async def test_failing_view_harms_neither_lane_nor_views() -> None:
    """Its error is its caller's."""
    state = (await FakeBooks.opened().transfers()).state
    views = Views()

    def fail(_: LaneState) -> int:
        raise ZeroDivisionError

    failing, other = views.add(fail), views.add(lambda state: state.next_offset)
    views.show(state)

    with pytest.raises(ZeroDivisionError):
        await failing
    assert await other == 0


async def test_view_of_an_ended_lane_is_refused() -> None:
    views = Views()
    seen = views.add(lambda state: state)
    views.end("revoked")

    with pytest.raises(Fenced, match="revoked"):
        await seen
