"""The templates of deploy/aws match the worker's settings. `make lint-aws` checks their syntax."""

import re
from pathlib import Path
from typing import Final

import pytest

from worker import config

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "aws"
WORKER: Final = (FOLDER / "worker.yaml").read_text(encoding="utf-8")
RESOURCES: Final = WORKER.split("\nResources:\n")[1].split("\nOutputs:\n")[0]
FARGATE_STOP_S_MAX: Final = 120
AFTER_DRAIN_S: Final = 20
"""Time that a worker may need after its drain to close connections."""
TOPICS: Final = (
    "orders_topic",
    "transfers_topic",
    "events_topic",
    "transfer_events_topic",
    "dead_letters_topic",
)


def resource(name: str) -> str:
    """Return the text of one resource."""
    begin = re.search(rf"^  {name}:\n", RESOURCES, re.MULTILINE)
    assert begin is not None, name
    return re.split(r"^  [A-Z]\w*:\n", RESOURCES[begin.end() :], maxsplit=1, flags=re.MULTILINE)[0]


def actions(role: str) -> set[str]:
    return set(re.findall(r"\b(?:dsql|kafka-cluster):\S+?(?=[\],\s])", resource(role)))


@pytest.mark.parametrize("task", ["WorkerTask", "MigratorTask"])
def test_variables_of_a_task_are_settings(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = dict(re.findall(r"Name: (PARITY_\w+), Value: \"?([^!\"}]+)\"?\}", resource(task)))
    named = set(re.findall(r"PARITY_\w+", resource(task)))
    assert given
    assert named <= {f"PARITY_{name.upper()}" for name in config.Settings.model_fields}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    config.load()


def test_worker_can_drain_before_it_is_killed() -> None:
    (stop_s,) = re.findall(r"StopTimeout: (\d+)", WORKER)
    (drain_s,) = re.findall(r"PARITY_DRAIN_S, Value: \"(\d+)\"", WORKER)
    assert int(drain_s) + AFTER_DRAIN_S <= int(stop_s) <= FARGATE_STOP_S_MAX


def test_only_liveness_restarts_a_worker() -> None:
    task = resource("WorkerTask")
    assert "/livez" in task
    assert "/readyz" not in task


def test_worker_may_only_connect_read_and_write() -> None:
    assert actions("WorkerRole") == {
        "dsql:DbConnect",
        "kafka-cluster:Connect",
        "kafka-cluster:DescribeCluster",
        "kafka-cluster:WriteDataIdempotently",
        "kafka-cluster:DescribeTopic",
        "kafka-cluster:DescribeTopicDynamicConfiguration",
        "kafka-cluster:ReadData",
        "kafka-cluster:WriteData",
        "kafka-cluster:DescribeGroup",
        "kafka-cluster:AlterGroup",
    }
    assert "?role=parity_worker" in resource("WorkerTask")
    assert "TaskRoleArn: !GetAtt WorkerRole.Arn" in resource("WorkerTask")


def test_only_the_migrator_is_admin() -> None:
    assert WORKER.count("DbConnectAdmin") == 1
    assert "dsql:DbConnectAdmin" in actions("MigratorRole")
    assert "kafka-cluster:WriteData" not in actions("MigratorRole")
    assert WORKER.count("?role=admin") == 1
    assert "TaskRoleArn: !GetAtt MigratorRole.Arn" in resource("MigratorTask")


def test_policies_have_no_wildcard() -> None:
    assert "*" not in re.sub(r"#.*", "", resource("WorkerRole") + resource("MigratorRole"))


def test_worker_reads_and_writes_its_own_topics() -> None:
    settings = config.load()
    reads, writes = (
        re.search(rf"Action: kafka-cluster:{verb}\n\s+Resource:\n((?:\s+- !Join.*\n)+)", WORKER)
        for verb in ("ReadData", "WriteData")
    )
    assert reads is not None
    assert writes is not None
    names = [getattr(settings, topic) for topic in TOPICS]
    assert re.findall(r"(parity\.\S+)\]\]", reads[1]) == names[:4]
    assert re.findall(r"(parity\.\S+)\]\]", writes[1]) == names[2:]
    assert f'-Groups"}}, {settings.group_id}]]' in WORKER
