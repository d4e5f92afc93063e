"""The end of a program on the stage, and the settings that its processes get."""

import signal
from collections.abc import Callable

import pytest

from producers.client import BrokerUnreachable, PublisherError
from worker import config
from worker.embedded import EmbeddedError
from worker.errors import BrokerError, ConfigError, ParityError, Unavailable
from worker.stage.program import Deadline, NotInTime, perform


def raising(error: BaseException) -> Callable[[], bool]:
    def play() -> bool:
        raise error

    return play


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ParityError(), 1),
        (EmbeddedError(), 1),
        (PublisherError(), 3),
        (ConfigError(), 2),
        (Unavailable("no route"), 3),
        (BrokerError(), 3),
        (BrokerUnreachable(), 3),
        (KeyboardInterrupt(), 130),
    ],
    ids=repr,
)
def test_error_sets_exit_code(error: BaseException, code: int) -> None:
    assert perform(raising(error), lambda _: None) == code


def test_result_sets_exit_code() -> None:
    assert perform(lambda: True, lambda _: None) == 0
    assert perform(lambda: False, lambda _: None) == 1


def test_sigterm_interrupts_program() -> None:
    def play() -> bool:
        signal.raise_signal(signal.SIGTERM)
        return True

    assert perform(play, lambda _: None) == 130


def test_error_is_reported() -> None:
    said: list[str] = []

    perform(raising(ConfigError("no topic")), said.append)

    assert said == ["ConfigError: no topic"]


def test_deadline_names_missing_result() -> None:
    Deadline("an answer", 60.0).require("3 are missing")

    with pytest.raises(NotInTime, match="waited -1 s for an answer: 3 are missing"):
        Deadline("an answer", -1.0).require("3 are missing")


def test_environment_carries_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql://ann:secret@h/d"
    given = config.load(database_url=url, log_json=True, stall_s=77)

    for name, value in config.environment(given).items():
        monkeypatch.setenv(name, value)

    assert config.load() == given
