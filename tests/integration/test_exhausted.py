"""A database without disk space, without memory or with a broken disk, which blames no command."""

import pytest

from tests.support.books import cancel, sell
from tests.support.eventually import eventually
from tests.support.system import System

FAILS = """\
CREATE FUNCTION exhausted() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN RAISE EXCEPTION 'nothing left' USING ERRCODE = '{sqlstate}'; END$$;
CREATE CONSTRAINT TRIGGER exhausted AFTER INSERT ON batches DEFERRABLE INITIALLY {when}
FOR EACH ROW EXECUTE FUNCTION exhausted()"""
"""IMMEDIATE fails the statement. DEFERRED fails the COMMIT after all steps."""


@pytest.mark.shows("F30")
@pytest.mark.parametrize(
    ("sqlstate", "commit_mode", "when"),
    [
        ("53100", "statement", "IMMEDIATE"),
        ("53200", "steps", "IMMEDIATE"),
        ("58030", "steps", "DEFERRED"),
        ("23514", "statement", "IMMEDIATE"),
        ("22003", "steps", "DEFERRED"),
    ],
)
async def test_refusing_database_is_reported_and_outlasted(
    system: System,
    sqlstate: str,
    commit_mode: str,
    when: str,
) -> None:
    member = await system.member(commit_mode=commit_mode)
    (market,) = await system.open(0)
    await system.publish(*(sell(market, "a", 1, 40, f"o{n}") for n in range(20)))
    await system.answered()

    await system.database.execute(FAILS.format(sqlstate=sqlstate, when=when))
    # Cancels need no money, so a lane that also loses races can answer all of them.
    await system.publish(*(cancel(market, "a", f"o{n}") for n in range(20)))
    await eventually(lambda: member.metric("alarms_total", alarm="database_refusing"))
    await system.database.execute("DROP FUNCTION exhausted CASCADE")
    await system.check_invariants()

    rejected = await system.events("CANCEL_REJECTED")
    # One command may be at the point of being rejected when all is well again.
    assert len(rejected) <= sqlstate.startswith(("22", "23"))
    assert len(await system.events("ORDER_CANCELLED")) == 20 - len(rejected)
    assert await system.database.fetchval("SELECT max(epoch) FROM lanes") == 1
