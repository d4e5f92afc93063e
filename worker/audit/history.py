"""The whole history held against the tables: topics, journal, a stranger, a replay. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from worker.audit import topics
from worker.audit.invariants import Findings
from worker.audit.replay import replay
from worker.audit.stranger import Stranger
from worker.audit.tables import Tables, compare
from worker.audit.topics import Heard, LaneHistory
from worker.ports import Outgoing, Record


@dataclass(slots=True)
class History:
    """All lanes, the topic of dead letters, and the tables, of one moment."""

    lanes: Sequence[LaneHistory]
    dead_letters: Iterable[Record]
    tables: Tables | None
    """None when they hold more than these lanes, so that events cannot give them all."""
    heard: list[Heard] = field(default_factory=list)
    """What ``check`` has heard of each lane."""

    def check(self, findings: Findings) -> None:
        """Note whatever does not hold."""
        stranger = Stranger(findings)
        letters: list[Outgoing] = []
        for lane in self.lanes:
            heard = topics.hear(lane.outputs, findings)
            self.heard.append(heard)
            letters += topics.published(lane, heard, findings)
            topics.answered(lane, heard, findings)
            topics.at_home(lane, heard, findings)
            stranger.read(heard.events)
            replay(lane, findings)
        topics.buried(letters, self.dead_letters, findings)
        stranger.close(self.tables.halted() if self.tables else ())
        if self.tables:
            compare(self.tables.told(), stranger.told(), findings)
