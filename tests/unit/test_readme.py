"""The README's examples work as printed."""

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from worker.domain.events import Reason
from worker.wire import events

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
FIRST, SECOND = "parity.orders.v1", "parity.orders.v1@2"


class Fetched:
    """A record as aiokafka gives it to a consumer."""

    def __init__(self, stream: str, partition: int, seq: int) -> None:
        self.partition = partition
        self.value = json.dumps({"seq": seq}).encode()
        self.headers = events.headers(stream, partition, seq, "ORDER_ACCEPTED", 0)


Rule = Callable[[Fetched, dict[object, int]], bool]


@pytest.fixture
def is_new() -> Rule:
    (text,) = [text for text in PYTHON if "def is_new" in text]
    names: dict[str, Any] = {"json": json}
    exec(text, names)  # noqa: S102 - the README's own
    rule: Rule = names["is_new"]
    return rule


def test_consumer_rule_drops_repeats_per_stream(is_new: Rule) -> None:
    last_seq: dict[object, int] = {}
    arrived = [
        (Fetched(FIRST, 0, 1), True),
        (Fetched(FIRST, 0, 2), True),
        (Fetched(FIRST, 1, 1), True),
        (Fetched(FIRST, 0, 2), False),
        (Fetched(SECOND, 0, 1), True),
        (Fetched(FIRST, 0, 3), True),
        (Fetched(SECOND, 0, 1), False),
        (Fetched(SECOND, 0, 2), True),
    ]

    assert [is_new(record, last_seq) for record, _ in arrived] == [new for _, new in arrived]


def test_consumer_rule_reports_a_gap(is_new: Rule) -> None:
    last_seq: dict[object, int] = {}
    assert is_new(Fetched(FIRST, 0, 1), last_seq)

    with pytest.raises(AssertionError, match="events 2 to 3 of"):
        is_new(Fetched(FIRST, 0, 4), last_seq)


@pytest.mark.parametrize("text", PYTHON)
def test_python_examples_compile(text: str) -> None:
    compile(text, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_refusals_have_a_row_each() -> None:
    table = README.partition("| `reason` of a refusal |")[2].partition("\n\n")[0]
    cells = [row.split(" | ")[0] for row in table.splitlines()[2:]]
    assert re.findall(r"`([A-Z_]+)`", "".join(cells)) == list(Reason)
