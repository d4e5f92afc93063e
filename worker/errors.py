"""All errors of this project, sorted by the reaction to each. DESIGN.md, "Failure policy".

ParityError
├── ConfigError             a setting is wrong. Report variable, value and rule, exit with 2
├── StoreError              the database did not answer a statement with success
│   ├── Conflict            lost race, nothing written. Read and plan again
│   │   ├── SchemaChanged   lost to a change of the schema. Prepare the statement again
│   │   └── NotAsOne        data-modifying CTEs are refused. Commit in steps from now on
│   ├── Refused             a constraint failed, nothing written. Read the lane's row first
│   ├── Poison              the statement can never succeed. Bisect the batch
│   ├── Misconfigured       the database lacks a table or a right. Wait and send again
│   ├── Unavailable         no connection, nothing sent. Wait and send again
│   └── OutcomeUnknown      perhaps committed. Send the same statement on a new connection
├── MustGather              withdrawals lost a race. Gather their money, then plan them again
├── GatheringLost           one pocket could not be moved. Go on without its money
├── Fenced                  another owner holds the lane. Drop everything
├── Reload                  another batch of ours was committed. Load the lane again
├── ReadingsExhausted       a plan still lacks facts after many readings. Bisect the batch
├── LaneHalted              history is lost or foreign. Stop until an operator decides
├── EventsLost              the topic lacks acknowledged events. Take over, publish again
└── BrokerError             Kafka failed, or missed a deadline. Pause and try again
    └── FetchFailed         one partition cannot be fetched. Halt its lane
        ├── OffsetOutOfRange    the requested offset is not in the partition
        ├── BatchUnreadable     the topic holds a batch that cannot be parsed
        └── FetchRefused        the brokers refuse to return records, for minutes
"""

from collections.abc import Set as AbstractSet

from worker.domain.units import AccountId


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
    """40001 (DSQL's OC000), 40P01, 55P03: nothing was written."""


class SchemaChanged(Conflict):
    """DSQL's OC001, or a prepared plan older than the tables: nothing was written."""


class NotAsOne(Conflict):
    """The target refuses data-modifying CTEs. From now on the store commits in steps."""


class Refused(StoreError):
    """Any 23xxx: nothing was written."""


class Poison(StoreError):
    """22xxx, 54000 or another refusal of the statement itself: nothing was written."""


class Misconfigured(StoreError):
    """42xxx, 0A000 and their like: no command is to blame, nothing was written."""


class Unavailable(StoreError):
    """No connection could be made; nothing was sent."""


class OutcomeUnknown(StoreError):
    """Connection lost, timeout, 57P01, XX000: the statement may have been committed."""


class MustGather(ParityError):
    """Withdrawals of ``accounts`` lost their race: the money must be gathered first."""

    def __init__(self, accounts: AbstractSet[AccountId]) -> None:
        super().__init__(f"{len(accounts)} accounts wait for their money")
        self.accounts = frozenset(accounts)


class GatheringLost(ParityError):
    """One pocket could not be moved and stays where it is."""


class Fenced(ParityError):
    """Another process owns the lane now."""


class Reload(ParityError):
    """An attempt with other contents was committed: the lane's state must be loaded again."""


class ReadingsExhausted(ParityError):
    """A plan still lacks facts after the permitted number of readings."""


class LaneHalted(ParityError):
    """The lane stops until an operator decides; the text gives the reason."""


class EventsLost(ParityError):
    """The topic lacks events that it acknowledged; the journal has them."""


class BrokerError(ParityError):
    """Kafka failed or did not answer by the deadline."""


class FetchFailed(BrokerError):
    """The partition in ``args[1]`` cannot be fetched. All others can."""


class OffsetOutOfRange(FetchFailed):
    """The requested offset is not in the partition."""


class BatchUnreadable(FetchFailed):
    """A batch of records cannot be decompressed or parsed, however often it is fetched."""


class FetchRefused(FetchFailed):
    """The brokers have the partition, and have refused for minutes to return its records."""
