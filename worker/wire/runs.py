"""Runs: ascending offsets as a short list of numbers.

The list has the first offset, then in turns the length of a run without gaps and the distance from
its last offset to the next run. An empty list means no offset.
"""

from collections.abc import Iterable, Iterator, Sequence

from worker.domain.units import Offset


def encode(offsets: Iterable[int]) -> list[int]:
    """Return the runs of offsets in ascending order."""
    runs: list[int] = []
    last = 0
    for offset in offsets:
        if not runs:
            runs += [offset, 1]
        elif offset == last + 1:
            runs[-1] += 1
        else:
            runs += [offset - last, 1]
        last = offset
    return runs


def decode(runs: Sequence[int]) -> Iterator[Offset]:
    """Yield the offsets of runs."""
    last = 0
    for distance, length in zip(runs[::2], runs[1::2], strict=True):
        yield from map(Offset, range(last + distance, last + distance + length))
        last += distance + length - 1
