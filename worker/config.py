"""Settings, from the environment with the prefix PARITY_, read once.

A bad value is answered by the variable's name, the value, the rule.
"""

from typing import Annotated, Final

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.errors import ConfigError

PREFIX: Final = "PARITY_"
Topic = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")]


class Settings(BaseSettings):
    """Everything an operator may set."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    database_url: SecretStr = Field(
        default=SecretStr("postgresql://postgres@127.0.0.1:5432/postgres"),
        description="PostgreSQL, `postgresql://user:password@host:port/database`",
    )
    bootstrap_servers: str = Field(
        default="127.0.0.1:9092", min_length=1, description="Kafka brokers, `host:port,host:port`"
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
    incarnation: int = Field(
        default=1, ge=1, le=1_000_000, description="raise it when an input topic was recreated"
    )
    batch_rows: int = Field(
        default=2_500, ge=600, le=100_000, description="rows a batch may write (DSQL: 1000)"
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
        default=60.0, gt=0, le=3600, description="seconds a lane with lag may stand still"
    )
    http_host: str = Field(default="127.0.0.1", description="where /livez and the rest listen")
    http_port: int = Field(default=8080, ge=0, le=65535, description="0 takes a free port")
    log_level: Annotated[str, Field(pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")] = Field(
        default="INFO", description="DEBUG, INFO, WARNING or ERROR"
    )
    log_json: bool = Field(default=False, description="log lines as JSON")

    def stream(self, topic: str) -> str:
        """Return the name of the topic's incarnation."""
        return topic if self.incarnation == 1 else f"{topic}@{self.incarnation}"


def load(**overrides: object) -> Settings:
    """Read the settings; ``overrides`` win over the environment. Raises ConfigError."""
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = [
            f"{PREFIX}{str(problem['loc'][0]).upper()}={problem['input']!r}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise ConfigError("; ".join(lines)) from error
