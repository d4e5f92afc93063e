"""What can go wrong, sorted by what the lane does next (design: the table of "What came back").

ParityError
├── ConfigError             the operator's: names the variable, the value, the rule; exit 2
├── StoreError
│   ├── Conflict            a lost race, nothing written: read and plan again
│   │   ├── SchemaChanged   lost to a change of the schema: prepare it again before
│   │   └── NotAsOne        the target refuses the batch as one statement: it goes in steps now
│   ├── Refused             a constraint said no, nothing written: read the lane row first
│   ├── Poison              the statement can never work: bisect
│   ├── Unfit               the target lacks a table or a right: wait and try again
│   ├── Unavailable         no connection, nothing was sent: wait and try again
│   └── OutcomeUnknown      it may have been written: same statement, new connection
├── Fenced                  another owner took the lane: drop everything
├── LaneHalted              the input is not what the lane remembers: an operator decides
├── EventsLost              the topic lacks what it acknowledged: take over and publish it again
├── BrokerError             Kafka did not do it in time, or at all: pause and retry
│   └── OffsetOutOfRange    the cursor is not in the topic
├── ConflictRetryExhausted  a caller's deadline passed among lost races
└── NotDelivered            a producer's: unknown whether it arrived; send the same id again
"""


class ParityError(Exception):
    """Root of all errors of this project."""


class ConfigError(ParityError):
    """A setting is wrong; the text names its variable."""


class StoreError(ParityError):
    """The database did not answer a statement with success."""

    def __init__(self, message: str, *, sqlstate: str = "", constraint: str = "") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.constraint = constraint


class Conflict(StoreError):
    """40001 (DSQL: OC000), 40P01, 55P03: nothing was written."""


class SchemaChanged(Conflict):
    """DSQL's OC001, or a plan that no longer fits the tables: nothing was written."""


class NotAsOne(Conflict):
    """The target refuses data-modifying CTEs. From now on the store commits in steps."""


class Refused(StoreError):
    """Any 23xxx: nothing was written."""


class Poison(StoreError):
    """22xxx, 54000 or another refusal of the statement itself: nothing was written."""


class Unfit(StoreError):
    """42xxx, 0A000 and their like: no command is to blame, nothing was written."""


class Unavailable(StoreError):
    """No connection could be made; nothing was sent."""


class OutcomeUnknown(StoreError):
    """Connection lost, timeout, 57P01, XX000: it may have been committed."""


class Fenced(ParityError):
    """Somebody else owns the lane now."""


class LaneHalted(ParityError):
    """The lane stands still until an operator decides; the text gives the reason."""


class EventsLost(ParityError):
    """The topic does not have what it acknowledged; the journal has."""


class BrokerError(ParityError):
    """Kafka failed or did not answer by the deadline."""


class OffsetOutOfRange(BrokerError):
    """The offset asked for is not in the partition."""


class ConflictRetryExhausted(ParityError):
    """The deadline passed and the statement still lost its races."""


class NotDelivered(ParityError):
    """Not known to be in the topic: publish again with the same id, never with a new one."""
