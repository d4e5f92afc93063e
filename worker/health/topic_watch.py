"""Looks at the topics every two seconds, because an operator can change them under a worker.

An input topic that was deleted, recreated and filled beyond a lane's cursor looks like the old one
in every record that the lane has yet to read. Only the topic's id shows the difference, so the lane
halts by its id. A setting that became wrong is an alarm and a failing check of /readyz until it is
right again. The lanes go on meanwhile: no record is lost by waiting for the operator.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from worker.assignment import Assignments
from worker.errors import BrokerError
from worker.lane import LaneStatus
from worker.ports import Broker, System, TopicDescription
from worker.telemetry import Metrics, log
from worker.topic_rules import foreign, problem
from worker.topics import Streams

LOOK_EVERY_S: Final = 2.0


class TopicWatch:
    """The watch over the topics of one worker."""

    def __init__(  # noqa: PLR0913 - all by keyword
        self,
        *,
        inputs: Sequence[str],
        outputs: Sequence[str],
        broker: Broker,
        assignments: Assignments,
        streams: Callable[[], Streams | None],
        system: System,
        metrics: Metrics,
    ) -> None:
        """``streams`` returns None until the worker has found its topics."""
        self._inputs, self._outputs = inputs, outputs
        self._broker, self._assignments = broker, assignments
        self._streams, self._system, self._metrics = streams, system, metrics
        self.problems: Mapping[str, str] = {}
        """The problem of each topic that does not fit."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._system.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Look once. Brokers that do not answer are the business of the watchdog."""
        streams = self._streams()
        if streams is None:
            return
        try:
            found = await self._broker.describe([*self._inputs, *self._outputs])
        except BrokerError:
            return
        self._judge(found)
        for stream in (streams.orders, streams.transfers):
            # A deleted topic has no description, and its lanes wait for it.
            if stream.topic in found:
                why = foreign(stream.topic, stream.topic_id, found[stream.topic].topic_id)
                self._halt(stream.topic, why)

    def _judge(self, found: Mapping[str, TopicDescription]) -> None:
        """Take note of the topics whose settings are wrong. Raises an alarm for each new one."""
        before = self.problems
        self.problems = {
            name: why
            for name, topic in found.items()
            if (why := problem(topic, is_input=name in self._inputs))
        }
        for name, why in self.problems.items():
            if before.get(name) != why:
                self._metrics.alarm("topic_misconfigured", topic=name, problem=why)
        for name in before.keys() - self.problems.keys():
            log.info("topic_fits_again", topic=name)

    def _halt(self, topic: str, why: str) -> None:
        """Halt the topic's lanes. A lane that still loads compares the id before it begins."""
        for partition, lane in self._assignments.lanes.items():
            if why and partition.topic == topic and lane.status is LaneStatus.READY:
                lane.halt(why)
