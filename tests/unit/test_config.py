"""Settings: a bad value is named by its variable, and no secret is ever shown."""

import logging
import traceback

import pytest

from worker import config
from worker.errors import ConfigError

HIDDEN = "geheim"


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in config.Settings.model_fields:
        monkeypatch.delenv(f"{config.PREFIX}{name.upper()}", raising=False)


def test_without_any_variable_there_are_defaults() -> None:
    settings = config.load()

    assert settings.orders_topic == "parity.orders.v1"
    assert settings.stream(settings.orders_topic) == "parity.orders.v1"


def test_variables_are_read_and_overrides_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARITY_HTTP_PORT", "9999")
    monkeypatch.setenv("PARITY_STALL_S", "90")

    settings = config.load(http_port=0, stall_s=None)

    assert (settings.http_port, settings.stall_s) == (0, 90.0)


@pytest.mark.shows("F27")
def test_a_batch_never_has_more_rows_than_dsql_takes() -> None:
    dsql = "dsql://abc.dsql.eu-central-1.on.aws"

    assert config.load().batch_rows == 2_500
    assert config.load(database_url=dsql).batch_rows == 1_000
    assert config.load(database_url=dsql, batch_rows=5_000).batch_rows == 1_000
    assert config.load(database_url=dsql, batch_rows=700).batch_rows == 700


def test_a_new_incarnation_is_another_stream() -> None:
    assert config.load(incarnation=2).stream("orders") == "orders@2"


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("HTTP_PORT", "99999", "less than or equal to 65535"),
        ("HTTP_PORT", "many", "valid integer"),
        ("STALL_S", "0", "greater than or equal to 10"),
        ("STALL_S", "19", "at least twice PARITY_DATABASE_TIMEOUT_S, which is 10"),
        ("DRAIN_S", "-3", "greater than 0"),
        ("AUDIT_EVERY_S", "-1", "greater than or equal to 0"),
        ("BATCH_ROWS", "10", "greater than or equal to 600"),
        ("INCARNATION", "1.5", "valid integer"),
        ("ORDERS_TOPIC", "two words", "match pattern"),
        ("LOG_LEVEL", "LOUD", "DEBUG|INFO|WARNING|ERROR"),
        ("LOG_JSON", "perhaps", "boolean"),
        ("BOOTSTRAP_SERVERS", "broker", "must be host:port"),
        ("BOOTSTRAP_SERVERS", "a:1,,b:2", "must be host:port"),
        ("DATABASE_URL", "", "must begin with postgresql:// or dsql://"),
        ("DATABASE_URL", "mysql://h/d", "must begin with postgresql:// or dsql://"),
        ("DATABASE_URL", "dsql://me@abc.dsql.eu-west-1.on.aws", "takes no user or password"),
        ("DATABASE_URL", "dsql://arn:aws:dsql:eu-west-1:1:cluster/abc", "write dsql://<cluster>"),
        ("DATABASE_URL", "postgresql://h:port/d", "has no readable host and port"),
    ],
)
def test_a_bad_value_is_named_by_variable_value_and_rule(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, rule: str
) -> None:
    monkeypatch.setenv(f"PARITY_{name}", value)

    with pytest.raises(ConfigError) as told:
        config.load()

    assert str(told.value).startswith(f"PARITY_{name}={value!r}: ")
    assert rule in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@127.0.0.1:5432/d",
        "postgres://u:p@db.example/d?sslmode=require",
        "postgresql://u:p%40%2F@[::1]:5432/d",
        "postgresql:///d?host=/run/postgresql",
    ],
)
def test_addresses_of_postgresql_are_taken(url: str) -> None:
    assert config.load(database_url=url).database_url.get_secret_value() == url


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://user:{HIDDEN}@host/d",
        f"dsql://user:{HIDDEN}@host/d",
        f"postgresql://user:{HIDDEN}/1@host/d",
        f"postgresql://user:1/{HIDDEN}@host/d",
        f"postgresql://user:@{HIDDEN}@host:port/d",
        f"postgresql://user:a:{HIDDEN}@host:port/d",
        f"postgresql://host:port/d?user=u&password={HIDDEN}&x=1",
        f"mysql://user:{HIDDEN}\n@host/d",
        f"postgresql:user:{HIDDEN}@host/d",
        f"user:{HIDDEN}@host/d",
        f"{'mysql://'}user:{HIDDEN * 100}@host/d",
    ],
)
@pytest.mark.parametrize("variable", ["DATABASE_URL", "BOOTSTRAP_SERVERS"])
def test_a_secret_is_in_no_message(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    variable: str,
    url: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(f"PARITY_{variable}", url)

    with pytest.raises(ConfigError) as told:
        config.load()

    assert f"PARITY_{variable}=" in str(told.value)
    assert HIDDEN not in _everything(told.value)
    assert HIDDEN not in caplog.text


def test_settings_do_not_show_the_password() -> None:
    settings = config.load(database_url=f"postgresql://u:{HIDDEN}@h/d")

    assert HIDDEN not in f"{settings!r} {settings} {settings.model_dump()}"
    assert config.masked(f"postgresql://u:{HIDDEN}@h/d") == "postgresql://u:***@h/d"


def _everything(error: BaseException) -> str:
    """What a traceback would print of an error."""
    return "".join(traceback.format_exception(error))


def test_the_table_names_every_setting() -> None:
    rows = config.table().splitlines()[2:]

    assert len(rows) == len(config.Settings.model_fields)
    assert all(row.count(" | ") == 2 for row in rows)
