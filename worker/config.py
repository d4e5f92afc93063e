"""Settings, from the environment with the prefix PARITY_, read once.

A bad value is answered by the variable's name, the value, the rule; a secret by its name alone.
`python -m worker.config` prints them all, as the table of README.md.
"""

import re
import sys
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.errors import ConfigError

PREFIX: Final = "PARITY_"
Topic = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")]
DSQL_ROWS_MAX: Final = 1_000
"""Of the 3,000 that DSQL takes in a transaction; a row written twice may count twice."""
_SCHEMES: Final = ("postgresql", "postgres", "dsql")
_SHOWN_CHARS_MAX: Final = 120
# Greedy: a password may hold any character, so it ends at the last @.
_PASSWORD: Final = re.compile(r"(?s)(?:(?<=://)|^(?!\w+://))([^:/@?]*):.*@")
_SECRET_PARAMETER: Final = re.compile(r"(?i)((?:password|passfile|sslkey)=)[^&]*")


class Settings(BaseSettings):
    """Everything an operator may set."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

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
        default="", description="PEM file of whom to trust; empty: the system's authorities"
    )
    kafka_region: Annotated[str, Field(pattern=r"^[a-z0-9-]{0,32}$")] = Field(
        default="", description="of MSK; empty: as its brokers' names say"
    )
    group_id: str = Field(
        default="parity", min_length=1, description="consumer group of the workers"
    )
    orders_topic: Topic = Field(
        default="parity.orders.v1", description="input: market commands, key = market id"
    )
    transfers_topic: Topic = Field(
        default="parity.transfers.v1", description="input: transfers, key = account id"
    )
    events_topic: Topic = Field(
        default="parity.events.v1", description="output: what happened in markets"
    )
    transfer_events_topic: Topic = Field(
        default="parity.transfer-events.v1", description="output: what happened to transfers"
    )
    dead_letters_topic: Topic = Field(
        default="parity.dead-letters.v1", description="output: records that are no command"
    )
    commit_mode: Annotated[str, Field(pattern=r"^(statement|steps)$")] = Field(
        default="statement",
        description="`steps`: for a target that refuses data-modifying CTEs",
    )
    incarnation: int = Field(
        default=1,
        ge=1,
        le=1_000_000,
        description="raised to abandon both input streams and begin anew (RUNBOOK)",
    )
    batch_rows: int = Field(
        default=2_500,
        ge=600,
        le=100_000,
        validate_default=True,
        description="rows a batch may write; on DSQL never above 1000",
    )
    database_timeout_s: float = Field(
        default=10.0, gt=0, le=300, description="seconds until a statement counts as lost"
    )
    kafka_timeout_s: float = Field(
        default=10.0, gt=0, le=300, description="seconds until a call to Kafka counts as lost"
    )
    drain_s: float = Field(
        default=25.0, gt=0, le=600, description="seconds that SIGTERM leaves for finishing"
    )
    stall_s: float = Field(
        default=60.0, ge=10, le=3600, description="seconds a lane with lag may stand still"
    )
    audit_every_s: float = Field(
        default=0.0, ge=0, description="seconds between full audits by this worker; 0: none"
    )
    http_host: str = Field(default="127.0.0.1", description="where /livez and the rest listen")
    http_port: int = Field(default=8080, ge=0, le=65535, description="0 takes a free port")
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

    @field_validator("bootstrap_servers")
    @classmethod
    def _are_addresses(cls, given: str) -> str:
        for server in given.split(","):
            if not re.fullmatch(r"\s*(\[[0-9A-Fa-f:]+\]|[^\s:/@\[\]]+):[0-9]{1,5}\s*", server):
                raise ValueError("must be host:port, several separated by commas")
        return given

    @property
    def inputs(self) -> tuple[str, str]:
        """Return the topics that commands come by: orders, transfers."""
        return self.orders_topic, self.transfers_topic

    @property
    def outputs(self) -> tuple[str, str, str]:
        """Return the topics of events, as ``inputs`` go, and of what was no command."""
        return self.events_topic, self.transfer_events_topic, self.dead_letters_topic

    def stream(self, topic: str) -> str:
        """Return the name of the topic's incarnation."""
        return topic if self.incarnation == 1 else f"{topic}@{self.incarnation}"


def load(**overrides: object) -> Settings:
    """Read the settings; ``overrides`` win over the environment. Raises ConfigError."""
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        # Without a cause: pydantic's own text prints what was given, secrets too.
        raise ConfigError("; ".join(_told(problem) for problem in error.errors())) from None


def masked(text: str) -> str:
    """Return ``text`` fit for logs: passwords in addresses are taken out, and it is not long."""
    shown = _SECRET_PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1:***@", text))
    return shown if len(shown) <= _SHOWN_CHARS_MAX else f"{shown[:_SHOWN_CHARS_MAX]}…"


def table() -> str:
    """Return all settings as the table of README.md."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        value = field.default
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        shown = "required" if value is PydanticUndefined else _plain(value)
        rows.append(f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)


def _check_database(url: str) -> None:
    """Raise ValueError when this is no address of a database. The text never repeats it."""
    scheme, colon, _ = url.partition("://")
    if not colon or scheme not in _SCHEMES:
        raise ValueError("must begin with postgresql:// or dsql://")
    try:
        parts = urlsplit(url)
        readable = "@" not in parts.path and (parts.port is None or parts.port > 0)
    except ValueError:
        readable = False
    if scheme == "dsql" and "@" in url:
        raise ValueError("dsql:// takes no user or password: the IAM role decides")
    if not readable and scheme == "dsql":
        raise ValueError("names no cluster; write dsql://<cluster>.dsql.<region>.on.aws") from None
    if not readable:
        text = "has no readable host and port; in a password write % as %25, / as %2F, @ as %40"
        raise ValueError(text) from None


def _told(problem: Any) -> str:  # noqa: ANN401 - pydantic's own
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
