"""Settings from environment variables with the prefix PARITY_, read once.

An error names the variable, the value and the rule. It never shows a secret. A variable with the
prefix that is no setting is an error too, since a misspelt one would otherwise have no effect.
`python -m worker.config` prints them all, as the table of deploy/SETTINGS.md.
"""

import os
import re
import sys
from difflib import get_close_matches
from typing import IO, Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, TypeAdapter, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.domain.units import OPEN_ORDERS_PER_LANE_MAX
from worker.errors import ConfigError

PREFIX: Final = "PARITY_"
Topic = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")]
DSQL_ROWS_MAX: Final = 1_000
"""A third of what DSQL allows per transaction, since a row written twice may count twice."""
_SCHEMES: Final = ("postgresql", "postgres", "dsql")
_SHOWN_CHARS_MAX: Final = 120
# Greedy, because a password may contain any character and ends at the last @.
_PASSWORD: Final = re.compile(r"(?s)(?:(?<=://)|^(?!\w+://))([^:/@?]*):.*@")
_ADDRESS: Final = re.compile(r"(?:\[[0-9A-Fa-f:]+\]|[^\s:/@\[\]]+):([0-9]{1,5})")
_PORT_MAX: Final = 65_535
_TESTS: Final = f"{PREFIX}TEST_"
"""The beginning of variables that only tests read."""
_SERVICE_LINK: Final = re.compile(
    r"SERVICE_HOST=.*|SERVICE_PORT(_\w+)?=[0-9]+|PORT=(tcp|udp|sctp)://.*|PORT_[0-9]+_(TCP|UDP|SCTP).*"
)
"""The end of a variable that Kubernetes sets for a service, which may be named parity."""
_SECRET_PARAMETER: Final = re.compile(r"(?i)((?:password|passfile|sslkey)=)[^&]*")


class Settings(BaseSettings):
    """All settings of an operator, in one class because each is one environment variable."""

    # A value that was read from a file often ends with a newline.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, str_strip_whitespace=True
    )

    database_url: SecretStr = Field(
        default=SecretStr("postgresql://postgres@127.0.0.1:5432/postgres"),
        description="`postgresql://user:password@host:port/database` or"
        " `dsql://<cluster>.dsql.<region>.on.aws[?role=…]`",
    )
    bootstrap_servers: str = Field(
        default="127.0.0.1:9092", min_length=1, description="Kafka brokers, `host:port,host:port`"
    )
    kafka_security: Annotated[str, Field(pattern=r"^(PLAINTEXT|SSL|SASL_SSL_MSK_IAM)$")] = Field(
        default="PLAINTEXT", description="`SSL`, or `SASL_SSL_MSK_IAM` for Amazon MSK"
    )
    kafka_ca_file: str = Field(
        default="", description="CA bundle (PEM) for the brokers. Empty: the system's"
    )
    kafka_region: Annotated[str, Field(pattern=r"^[a-z0-9-]{0,32}$")] = Field(
        default="", description="AWS region of MSK. Empty: read from the brokers' names"
    )
    group_id: Annotated[str, Field(pattern=r"^[!-~]{1,200}$")] = Field(
        default="parity", description="consumer group of the workers"
    )
    orders_topic: Topic = Field(
        default="parity.orders.v1", description="input: market commands, keyed by market id"
    )
    transfers_topic: Topic = Field(
        default="parity.transfers.v1", description="input: transfers, keyed by account id"
    )
    events_topic: Topic = Field(default="parity.events.v1", description="output: events of markets")
    transfer_events_topic: Topic = Field(
        default="parity.transfer-events.v1", description="output: events of transfers"
    )
    dead_letters_topic: Topic = Field(
        default="parity.dead-letters.v1", description="output: records that are not commands"
    )
    commit_mode: Annotated[str, Field(pattern=r"^(statement|steps)$")] = Field(
        default="statement",
        description="`steps` for a target that refuses data-modifying CTEs",
    )
    incarnation: int = Field(
        default=1,
        ge=1,
        le=1_000_000,
        description="raise to abandon both input streams and start new ones (see RUNBOOK)",
    )
    batch_rows: int = Field(
        default=2_500,
        ge=600,
        le=100_000,
        validate_default=True,
        description="most rows a batch may write. On DSQL at most 1000",
    )
    lane_open_orders: int = Field(
        default=OPEN_ORDERS_PER_LANE_MAX,
        ge=1,
        le=10_000_000,
        description="most open orders of a lane. Beyond it an order that may rest is rejected with"
        " LANE_ORDER_LIMIT. A million take 1 GiB of memory",
    )
    database_timeout_s: float = Field(
        default=10.0, gt=0, le=300, description="seconds before a statement counts as lost"
    )
    kafka_timeout_s: float = Field(
        default=10.0, gt=0, le=300, description="seconds before a call to Kafka counts as lost"
    )
    queue_mib: int = Field(
        default=64,
        ge=8,
        le=65_536,
        description="MiB of memory for records that wait for their answer, for all lanes",
    )
    drain_s: float = Field(
        default=25.0, gt=0, le=600, description="seconds to finish after SIGTERM"
    )
    stall_s: float = Field(
        default=60.0, ge=10, le=3600, description="seconds a lane with lag may make no progress"
    )
    audit_every_s: float = Field(
        default=0.0,
        ge=0,
        le=604_800,
        description="seconds between full audits by this worker. 0: none",
    )
    # The library takes an empty address for all addresses of the machine.
    http_host: Annotated[str, Field(pattern=r"^[!-~]{1,255}$")] = Field(
        default="127.0.0.1", description="address of the HTTP endpoints. All: `0.0.0.0`"
    )
    http_port: int = Field(
        default=8080, ge=0, le=65535, description="port of the HTTP endpoints. 0: any free port"
    )
    log_level: Annotated[str, Field(pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")] = Field(
        default="INFO", description="DEBUG, INFO, WARNING or ERROR"
    )
    log_json: bool = Field(default=False, description="log lines as JSON")

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, given: SecretStr) -> SecretStr:
        _check_database(given.get_secret_value())
        return given

    @field_validator("batch_rows")
    @classmethod
    def _fit_a_transaction(cls, given: int, info: ValidationInfo) -> int:
        url = info.data.get("database_url")
        on_dsql = url is not None and url.get_secret_value().startswith("dsql://")
        return min(given, DSQL_ROWS_MAX) if on_dsql else given

    @field_validator("stall_s")
    @classmethod
    def _outlasts_a_statement(cls, given: float, info: ValidationInfo) -> float:
        timeout_s = info.data.get("database_timeout_s", 0.0)
        if given < 2 * timeout_s:
            text = f"must be at least twice {PREFIX}DATABASE_TIMEOUT_S, which is {timeout_s:g}"
            raise ValueError(text)
        return given

    @field_validator(
        "orders_topic",
        "transfers_topic",
        "events_topic",
        "transfer_events_topic",
        "dead_letters_topic",
    )
    @classmethod
    def _are_distinct(cls, given: str, info: ValidationInfo) -> str:
        if given in {".", ".."}:
            raise ValueError("must not be . or .., which Kafka refuses")
        others = [n for n, value in info.data.items() if n.endswith("_topic") and value == given]
        if others:
            name = f"{PREFIX}{others[0].upper()}"
            raise ValueError(f"must not be the topic of {name}: give each of the five its own")
        return given

    @field_validator("bootstrap_servers")
    @classmethod
    def _are_addresses(cls, given: str) -> str:
        for server in given.split(","):
            address = re.fullmatch(_ADDRESS, server.strip())
            if address is None or not 0 < int(address[1]) <= _PORT_MAX:
                raise ValueError("must be host:port, several separated by commas")
        return given

    @property
    def inputs(self) -> tuple[str, str]:
        """Return the topics of commands, orders and transfers."""
        return self.orders_topic, self.transfers_topic

    @property
    def outputs(self) -> tuple[str, str, str]:
        """Return the topics of events in the order of ``inputs``, then that of dead letters."""
        return self.events_topic, self.transfer_events_topic, self.dead_letters_topic

    def stream(self, topic: str) -> str:
        """Return the name of the topic's incarnation."""
        return topic if self.incarnation == 1 else f"{topic}@{self.incarnation}"


def load(**overrides: object) -> Settings:
    """Read the settings. ``overrides`` win over the environment. Raises ConfigError."""
    given = {name: value for name, value in overrides.items() if value is not None}
    problems = _unknown_variables()
    try:
        settings = Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        problems += [_explained(problem) for problem in error.errors()]
    else:
        if not problems:
            return settings
    # Without a cause, because pydantic's own text prints the input, secrets too.
    raise ConfigError("; ".join(problems))


def wants_json() -> bool:
    """Return whether log lines are JSON, also while the settings as a whole are not readable."""
    try:
        return TypeAdapter(bool).validate_python(os.environ.get(f"{PREFIX}LOG_JSON", "false"))
    except ValidationError:
        return False


def wants_colours(stream: IO[str]) -> bool:
    """Return whether ``stream`` is a terminal that may show colours. See no-color.org."""
    refused = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not refused


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables that give ``settings`` to another process, secrets included."""
    secret = {"database_url": settings.database_url.get_secret_value()}
    values = {**settings.model_dump(), **secret}
    return {f"{PREFIX}{name.upper()}": str(value) for name, value in values.items()}


def masked(text: str) -> str:
    """Return ``text`` fit for logs, without the passwords of addresses and not too long."""
    shown = _SECRET_PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1:***@", text))
    return shown if len(shown) <= _SHOWN_CHARS_MAX else f"{shown[:_SHOWN_CHARS_MAX]}…"


def table() -> str:
    """Return all settings as the table of deploy/SETTINGS.md."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        value = field.default
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        shown = "required" if value is PydanticUndefined else _plain(value)
        rows.append(f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)


def _check_database(url: str) -> None:
    """Raise ValueError if ``url`` is no address of a database. The text never repeats ``url``."""
    scheme, colon, _ = url.partition("://")
    if not colon or scheme not in _SCHEMES:
        raise ValueError("must begin with postgresql:// or dsql://")
    try:
        parts = urlsplit(url)
        readable = "@" not in parts.path and (parts.port is None or parts.port > 0)
    except ValueError:
        readable = False
    if scheme == "dsql" and "@" in url:
        raise ValueError("dsql:// takes no user or password: IAM decides")
    if not readable and scheme == "dsql":
        raise ValueError("names no cluster: use dsql://<cluster>.dsql.<region>.on.aws") from None
    if not readable:
        text = "has no readable host and port: in a password write % as %25, / as %2F, @ as %40"
        raise ValueError(text) from None


def _unknown_variables() -> list[str]:
    """Return a problem for each variable with the prefix that is no setting."""
    known = [name.upper() for name in Settings.model_fields]
    problems = []
    for variable, value in sorted(os.environ.items()):
        name = variable.upper().removeprefix(PREFIX)
        strange = variable.upper().startswith(PREFIX) and name not in known
        if strange and not variable.startswith(_TESTS) and not _is_service_link(name, value):
            near = get_close_matches(name, known, n=1)
            way_out = f"did you mean {PREFIX}{near[0]}?" if near else "see deploy/SETTINGS.md"
            problems.append(f"{variable}: there is no such setting, {way_out}")
    return problems


def _is_service_link(name: str, value: str) -> bool:
    """Return whether Kubernetes sets the variable: ``name`` may begin with more of a service's."""
    words = name.split("_")
    ends = ["_".join(words[first:]) for first in range(len(words))]
    return any(_SERVICE_LINK.fullmatch(f"{end}={value}") for end in ends)


def _explained(problem: Any) -> str:  # noqa: ANN401 - pydantic's own
    name, given = str(problem["loc"][0]), problem["input"]
    text = given.get_secret_value() if isinstance(given, SecretStr) else str(given)
    is_secret = Settings.model_fields[name].annotation is SecretStr
    shown = "***" if is_secret and text and "://" not in text else masked(text)
    rule = problem["msg"].removeprefix("Value error, ")
    return f"{PREFIX}{name.upper()}={shown!r}: {rule}"


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{value}`" if value != "" else ""


if __name__ == "__main__":
    sys.stdout.write(f"{table()}\n")
