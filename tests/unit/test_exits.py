"""The exit code and message of each error that ends a command."""

import pytest

from producers.client import BrokerUnreachable, NotDelivered, TopicUnfit
from producers.encode import InvalidCommand
from worker import cli
from worker.embedded import EmbeddedError
from worker.errors import (
    BatchUnreadable,
    BrokerError,
    ConfigError,
    Conflict,
    OutcomeUnknown,
    ParityError,
    Poison,
    Refused,
    Unavailable,
)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConfigError("PARITY_X is 1\n  use 2"), 2, "PARITY_X is 1 use 2"),
        (InvalidCommand(1, "", 1, "no command", "send one"), 2, "int is 1: no command; send one"),
        (TopicUnfit("no topic"), 2, "no topic"),
        (BrokerError("no answer"), 3, "Kafka: no answer"),
        (BatchUnreadable("offset 1"), 3, "Kafka: offset 1"),
        (BrokerUnreachable("no answer"), 3, "Kafka: no answer"),
        (NotDelivered("no answer", ()), 3, "Kafka: no answer"),
        (Unavailable("no route"), 3, "database: no route"),
        (Unavailable("no such", sqlstate="3D000"), 2, "database: no such"),
        (OutcomeUnknown("closed"), 3, "database: closed"),
        (Conflict("40001"), 3, "database: 40001"),
        (ConnectionRefusedError("refused"), 3, "refused"),
        (TimeoutError(), 3, "TimeoutError"),
        (Refused("23514"), 1, "23514"),
        (Poison("22003"), 1, "22003"),
        (EmbeddedError("no java"), 1, "no java"),
        (ParityError("given up"), 1, "given up"),
    ],
    ids=lambda value: repr(value) if isinstance(value, Exception) else "",
)
def test_expected_error_ends_with_code_and_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    message: str,
) -> None:
    def fail(**_: object) -> int:
        raise error

    monkeypatch.setattr(cli, "cli", fail)
    assert cli.call() == code
    assert capsys.readouterr() == ("", f"parity: {message}\n")


def test_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "cli", lambda **_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        cli.call()
