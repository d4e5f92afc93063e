"""Settings name the variable of a bad value and never show a secret."""

import io
import itertools
import logging
import re
import traceback
from pathlib import Path

import pytest

from worker import config
from worker.errors import ConfigError

HIDDEN = "geheim"
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in config.Settings.model_fields:
        monkeypatch.delenv(f"{config.PREFIX}{name.upper()}", raising=False)


def test_settings_have_defaults() -> None:
    settings = config.load()

    assert settings.orders_topic == "parity.orders.v1"
    assert settings.stream(settings.orders_topic) == "parity.orders.v1"


def test_overrides_win_over_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARITY_HTTP_PORT", "9999")
    monkeypatch.setenv("PARITY_STALL_S", "90")

    settings = config.load(http_port=0, stall_s=None)

    assert (settings.http_port, settings.stall_s) == (0, 90.0)


@pytest.mark.shows("F27")
def test_batch_rows_stay_below_the_limit_of_dsql() -> None:
    dsql = "dsql://abc.dsql.eu-central-1.on.aws"

    assert config.load().batch_rows == 2_500
    assert config.load(database_url=dsql).batch_rows == 1_000
    assert config.load(database_url=dsql, batch_rows=5_000).batch_rows == 1_000
    assert config.load(database_url=dsql, batch_rows=700).batch_rows == 700


def test_new_incarnation_is_another_stream() -> None:
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
        ("ORDERS_TOPIC", "..", "must not be . or .., which Kafka refuses"),
        ("GROUP_ID", "", "match pattern"),
        ("GROUP_ID", "two lines", "match pattern"),
        ("HTTP_HOST", "", "match pattern"),
        ("AUDIT_EVERY_S", "inf", "less than or equal to 604800"),
        ("BOOTSTRAP_SERVERS", "a:0", "must be host:port"),
        ("BOOTSTRAP_SERVERS", "a:1,b:65536", "must be host:port"),
        ("LOG_LEVEL", "LOUD", "DEBUG|INFO|WARNING|ERROR"),
        ("LOG_JSON", "perhaps", "boolean"),
        ("BOOTSTRAP_SERVERS", "broker", "must be host:port"),
        ("BOOTSTRAP_SERVERS", "a:1,,b:2", "must be host:port"),
        ("DATABASE_URL", "", "must begin with postgresql:// or dsql://"),
        ("DATABASE_URL", "mysql://h/d", "must begin with postgresql:// or dsql://"),
        ("DATABASE_URL", "dsql://me@abc.dsql.eu-west-1.on.aws", "takes no user or password"),
        ("DATABASE_URL", "dsql://arn:aws:dsql:eu-west-1:1:cluster/abc", "use dsql://<cluster>"),
        ("DATABASE_URL", "postgresql://h:port/d", "has no readable host and port"),
    ],
)
def test_bad_value_is_named_with_its_rule(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, rule: str
) -> None:
    monkeypatch.setenv(f"PARITY_{name}", value)

    with pytest.raises(ConfigError) as raised:
        config.load()

    assert str(raised.value).startswith(f"PARITY_{name}={value!r}: ")
    assert rule in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@127.0.0.1:5432/d",
        "postgres://u:p@db.example/d?sslmode=require",
        "postgresql://u:p%40%2F@[::1]:5432/d",
        "postgresql:///d?host=/run/postgresql",
    ],
)
def test_postgresql_addresses_are_accepted(url: str) -> None:
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
def test_messages_contain_no_secret(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str, url: str
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(f"PARITY_{variable}", url)

    with pytest.raises(ConfigError) as raised:
        config.load()

    assert f"PARITY_{variable}=" in str(raised.value)
    assert HIDDEN not in _everything(raised.value)
    assert HIDDEN not in caplog.text


def test_settings_hide_the_password() -> None:
    settings = config.load(database_url=f"postgresql://u:{HIDDEN}@h/d")

    assert HIDDEN not in f"{settings!r} {settings} {settings.model_dump()}"
    assert config.masked(f"postgresql://u:{HIDDEN}@h/d") == "postgresql://u:***@h/d"


def test_values_are_stripped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that is mounted as a file often ends with a newline."""
    monkeypatch.setenv("PARITY_DATABASE_URL", " postgresql://u:p@h/d\n")
    monkeypatch.setenv("PARITY_BOOTSTRAP_SERVERS", "a:1, b:2\n")
    monkeypatch.setenv("PARITY_ORDERS_TOPIC", "orders\n")
    monkeypatch.setenv("PARITY_LOG_LEVEL", "ERROR ")

    settings = config.load()

    assert settings.database_url.get_secret_value() == "postgresql://u:p@h/d"
    assert (settings.bootstrap_servers, settings.orders_topic) == ("a:1, b:2", "orders")
    assert settings.log_level == "ERROR"


TOPICS = ("ORDERS", "TRANSFERS", "EVENTS", "TRANSFER_EVENTS", "DEAD_LETTERS")


@pytest.mark.parametrize("pair", list(itertools.combinations(TOPICS, 2)))
def test_two_uses_of_a_topic_are_refused(
    monkeypatch: pytest.MonkeyPatch, pair: tuple[str, str]
) -> None:
    """Events in an input topic would be answered, and the answers, too."""
    one, other = pair
    for name in pair:
        monkeypatch.setenv(f"PARITY_{name}_TOPIC", "shared")

    with pytest.raises(ConfigError) as raised:
        config.load()

    said = f"PARITY_{other}_TOPIC='shared': must not be the topic of PARITY_{one}_TOPIC: give each"
    assert str(raised.value).startswith(said)


def test_default_topic_of_another_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARITY_ORDERS_TOPIC", "parity.events.v1")

    with pytest.raises(ConfigError, match=r"PARITY_EVENTS_TOPIC=.parity\.events\.v1.: must not be"):
        config.load()


# Variables that are no setting.


@pytest.mark.parametrize(
    ("variable", "way_out"),
    [
        ("PARITY_DATABASE", "did you mean PARITY_DATABASE_URL?"),
        ("PARITY_DB_URL", "did you mean PARITY_DATABASE_URL?"),
        ("PARITY_BOOTSTRAP_SERVER", "did you mean PARITY_BOOTSTRAP_SERVERS?"),
        ("PARITY_KAFKA_TIMEOUT", "did you mean PARITY_KAFKA_TIMEOUT_S?"),
        ("PARITY_DATABASE_URL_", "did you mean PARITY_DATABASE_URL?"),
        ("PARITY_PORT", "did you mean PARITY_HTTP_PORT?"),
        ("parity_logjson", "did you mean PARITY_LOG_JSON?"),
        ("PARITY_XYZZY", "see deploy/SETTINGS.md"),
        ("PARITY_", "see deploy/SETTINGS.md"),
    ],
)
def test_unknown_variable_names_the_nearest_setting(
    monkeypatch: pytest.MonkeyPatch, variable: str, way_out: str
) -> None:
    """The value is not repeated, since it may be a secret."""
    monkeypatch.setenv(variable, HIDDEN)

    with pytest.raises(ConfigError) as raised:
        config.load()

    assert str(raised.value) == f"{variable}: there is no such setting, {way_out}"


def test_all_problems_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARITY_DATABASE", "x")
    monkeypatch.setenv("PARITY_STALL_S", "0")

    with pytest.raises(ConfigError, match=r"PARITY_DATABASE: .*; PARITY_STALL_S='0': "):
        config.load()


SERVICE_LINKS = {
    "SERVICE_HOST": "10.0.0.7",
    "SERVICE_PORT": "8080",
    "SERVICE_PORT_HTTP": "8080",
    "PORT": "tcp://10.0.0.7:8080",
    "PORT_8080_TCP": "tcp://10.0.0.7:8080",
    "PORT_8080_TCP_PROTO": "tcp",
    "PORT_8080_TCP_PORT": "8080",
    "PORT_8080_TCP_ADDR": "10.0.0.7",
}


@pytest.mark.parametrize("service", ["PARITY", "PARITY_WORKER"])
def test_service_links_of_kubernetes_are_ignored(
    monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    """Kubernetes gives them to every pod of a namespace with a service of this name."""
    for name, value in SERVICE_LINKS.items():
        monkeypatch.setenv(f"{service}_{name}", value)

    assert config.load().http_port == 8080


def test_variables_of_deployments_are_settings() -> None:
    """Every variable that pages and templates name has an effect. SETTINGS.md has its own test."""
    known = {f"{config.PREFIX}{name.upper()}" for name in config.Settings.model_fields}
    files = [REPOSITORY / "README.md", REPOSITORY / "compose.yaml"]
    files += [file for file in (REPOSITORY / "deploy").rglob("*") if file.is_file()]
    named = {
        (file.name, variable)
        for file in files
        if file.name != "SETTINGS.md"
        for variable in re.findall(r"\bPARITY_[A-Z_]+[A-Z]\b", file.read_text(encoding="utf-8"))
    }

    assert [found for found in named if found[1] not in known] == []


@pytest.mark.parametrize(
    ("terminal", "variables", "colours"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": ""}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
        (False, {"FORCE_COLOR": "1", "GITHUB_ACTIONS": "true"}, False),
    ],
)
def test_colours_need_a_terminal(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, variables: dict[str, str], colours: bool
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal)

    assert config.wants_colours(stream) is colours


def _everything(error: BaseException) -> str:
    """Return an error with its traceback, as Python prints it."""
    return "".join(traceback.format_exception(error))


def test_table_lists_every_setting() -> None:
    rows = config.table().splitlines()[2:]

    assert len(rows) == len(config.Settings.model_fields)
    assert all(row.count(" | ") == 2 for row in rows)
