"""All checks of a history: topics, journal, independent replay, replay, tables. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from worker.audit import event_log
from worker.audit.event_log import LaneHistory, TopicContents
from worker.audit.independent import IndependentReplay
from worker.audit.invariants import Findings
from worker.audit.replay import Replayed, replay
from worker.audit.tables import Tables, compare
from worker.ports import Outgoing, Record


@dataclass(slots=True)
class History:
    """All lanes, the topic of dead letters, and the tables, of one moment."""

    lanes: Sequence[LaneHistory]
    dead_letters: Iterable[Record]
    tables: Tables | None
    """None if they hold more than these lanes, so that the events cannot show every row."""
    contents: list[TopicContents] = field(default_factory=list)
    """The contents of each lane's output partition, noted by ``check``."""
    replayed: Replayed = field(default_factory=Replayed)
    """How many batches ``check`` has planned again."""

    def check(self, findings: Findings) -> None:
        """Note every violation."""
        independent = IndependentReplay(findings)
        letters: list[Outgoing] = []
        for lane in self.lanes:
            contents = event_log.read(lane.outputs, findings)
            self.contents.append(contents)
            letters += event_log.published(lane, contents, findings)
            event_log.answered(lane, contents, findings)
            event_log.at_home(lane, contents, findings)
            independent.read(contents.events)
            self.replayed += replay(lane, findings)
        event_log.same_dead_letters(letters, self.dead_letters, findings)
        independent.close(self.tables.halted() if self.tables else ())
        if self.tables:
            compare(self.tables.named(), independent.rows(), findings)
