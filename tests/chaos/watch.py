"""An observer of the topics, which counts commands and answers, and times the stalls of lanes."""

import asyncio
import contextlib
import re
from collections import Counter
from typing import Final

from aiokafka.errors import KafkaError

from tests.support import invariants
from tests.support.system import System
from worker.ports import TopicPartition

LOOK_EVERY_S: Final = 0.2
LOOK_S: Final = 3.0
_OFFSET: Final = re.compile(rb'"offset":([0-9]+)')


class Watch:
    """Reads the topics all the time. A lane with lag and without new answers is stalled."""

    def __init__(self, system: System) -> None:
        self._log = system.log
        inputs = (system.settings.orders_topic, system.settings.transfers_topic)
        self._output = {
            TopicPartition(topic, n): TopicPartition(system.output_of(topic), n)
            for topic in inputs
            for n in range(system.partitions)
        }
        self._clock = asyncio.get_running_loop().time
        now = self._clock()
        self._moved_at_s = dict.fromkeys(self._output, now)
        self._read: Counter[TopicPartition] = Counter()
        self._answered: Counter[TopicPartition] = Counter()
        self._ends: dict[TopicPartition, int] = {}
        self.longest_stop_s = 0.0

    async def run(self) -> None:
        """Look until cancelled, also while brokers do not answer."""
        while True:
            with contextlib.suppress(TimeoutError, KafkaError, OSError):
                async with asyncio.timeout(LOOK_S):
                    await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Look once."""
        try:
            self._ends = await self._log.ends()
            await self._log.read()
        finally:
            for lane, output in self._output.items():
                self._note(lane, output)

    def _note(self, lane: TopicPartition, output: TopicPartition) -> None:
        records, before = self._log.records[output], self._answered[lane]
        for record in records[self._read[output] :]:
            found = _OFFSET.search(invariants.value_of(record))
            if found is not None:
                self._answered[lane] = max(self._answered[lane], int(found[1]) + 1)
        self._read[output] = len(records)
        now = self._clock()
        self.longest_stop_s = max(self.longest_stop_s, now - self._moved_at_s[lane])
        if self._answered[lane] > before or self._answered[lane] >= self._ends.get(lane, 0):
            self._moved_at_s[lane] = now

    @property
    def asked(self) -> int:
        """Return the number of records in the input topics."""
        return sum(self._ends.get(lane, 0) for lane in self._output)

    @property
    def answered(self) -> int:
        """Return the number of answered records, as far as is known."""
        return sum(self._answered.values())

    @property
    def stopped(self) -> int:
        """Return the number of lanes with lag that have not answered for two seconds."""
        late = self._clock() - 2.0
        return sum(moved_at_s < late for moved_at_s in self._moved_at_s.values())

    @property
    def events(self) -> int:
        """Return the number of records in the output topics, with repeats."""
        return sum(len(self._log.records[output]) for output in self._output.values())
