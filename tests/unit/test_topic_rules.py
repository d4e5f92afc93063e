"""Problems of topics, found by their settings and ids."""

from dataclasses import replace

import pytest

from worker.ports import TopicDescription
from worker.topic_rules import (
    BATCH_BYTES,
    CLEANUP,
    FUTURE_MS,
    IN_SYNC,
    OLDEST_MS,
    RETENTION_MS,
    STAMPS,
    foreign,
    problem,
)

INPUT = TopicDescription(2, {STAMPS: "LogAppendTime", CLEANUP: "delete"}, "one", replicas=3)
OUTPUT = TopicDescription(2, {STAMPS: "CreateTime", BATCH_BYTES: "524288"}, "one", replicas=3)


def test_suitable_topics_have_no_problem() -> None:
    """Brokers may not know a setting, and a limit may be exactly the least that suffices."""
    assert (problem(INPUT, is_input=True), problem(OUTPUT, is_input=False)) == ("", "")
    assert not problem(replace(OUTPUT, settings={}), is_input=False)
    for kept_ms in ("-1", "3600000"):
        kept = {**INPUT.settings, RETENTION_MS: kept_ms}
        assert not problem(replace(INPUT, settings=kept), is_input=True)


@pytest.mark.parametrize(
    ("is_input", "name", "value", "text"),
    [
        (True, STAMPS, "CreateTime", "set LogAppendTime"),
        (False, STAMPS, "LogAppendTime", "set CreateTime"),
        (True, CLEANUP, "compact", "set delete"),
        (True, CLEANUP, "compact,delete", "set delete"),
        (False, CLEANUP, "compact", "set delete"),
        (True, RETENTION_MS, "3599999", "set at least 3600000"),
        (False, RETENTION_MS, "0", "set at least 3600000"),
        (True, IN_SYNC, "4", "set at most 3"),
        (False, IN_SYNC, "4", "set at most 3"),
        (False, BATCH_BYTES, "524287", "set 1048588"),
        (False, OLDEST_MS, "86400000", "remove it"),
        (False, FUTURE_MS, "60000", "set 3600000"),
    ],
)
def test_unsuitable_setting_is_named(is_input: bool, name: str, value: str, text: str) -> None:
    right = INPUT if is_input else OUTPUT
    found = problem(replace(right, settings={**right.settings, name: value}), is_input=is_input)
    assert found.startswith(f"has {name}=" if name != IN_SYNC else "has 3 replicas and")
    assert text in found
    assert ";" not in found


def test_all_problems_are_named() -> None:
    wrong = {CLEANUP: "compact", BATCH_BYTES: "1"}
    found = problem(replace(OUTPUT, settings=wrong), is_input=False)
    assert [part.split()[1] for part in found.split("; ")] == [
        "cleanup.policy=compact:",
        "max.message.bytes=1:",
    ]


@pytest.mark.parametrize(("known", "found"), [("a", "a"), ("", "a"), ("a", ""), ("", "")])
def test_same_or_unknown_id_is_not_foreign(known: str, found: str) -> None:
    assert foreign("t", known, found) == ""


def test_other_id_is_foreign() -> None:
    assert foreign("t", "a", "b").startswith("foreign history: topic t has the id b and")
