"""A database that has no room, no memory or a broken disk for a while: no command's fault."""

import pytest

from tests.support.books import cancel, deposit, open_market, sell
from tests.support.eventually import eventually
from tests.support.system import System
from worker.embedded import EmbeddedKafka

pytestmark = pytest.mark.integration

RICH = 10**6
FAILS = """\
CREATE FUNCTION exhausted() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN RAISE EXCEPTION 'nothing left' USING ERRCODE = '{sqlstate}'; END$$;
CREATE CONSTRAINT TRIGGER exhausted AFTER INSERT ON batches DEFERRABLE INITIALLY {when}
FOR EACH ROW EXECUTE FUNCTION exhausted()"""
"""IMMEDIATE: at the statement. DEFERRED: at the COMMIT, with all steps carried out."""


@pytest.mark.shows("F30")
@pytest.mark.parametrize(
    ("sqlstate", "commit_mode", "when"),
    [
        ("53100", "statement", "IMMEDIATE"),
        ("53200", "steps", "IMMEDIATE"),
        ("58030", "steps", "DEFERRED"),
    ],
)
async def test_a_full_disk_is_told_and_waited_for(
    database_url: str,
    kafka_server: EmbeddedKafka,
    topic_prefix: str,
    sqlstate: str,
    commit_mode: str,
    when: str,
) -> None:
    bootstrap = kafka_server.bootstrap
    async with System.start(
        database_url, bootstrap, topic_prefix, commit_mode=commit_mode
    ) as system:
        member = await system.member()
        market = system.market(0)
        await system.publish(deposit("a", RICH), open_market(market))
        await system.answered()
        await system.publish(*(sell(market, "a", 1, 40, f"o{n}") for n in range(20)))
        await system.answered()

        await system.database.execute(FAILS.format(sqlstate=sqlstate, when=when))
        # None needs money, which a lane that also loses races may not get.
        await system.publish(*(cancel(market, "a", f"o{n}") for n in range(20)))
        await eventually(lambda: member.metric("alarms_total", alarm="database_unwilling"))
        await system.database.execute("DROP FUNCTION exhausted CASCADE")
        await system.check_invariants()

        assert await system.events("CANCEL_REJECTED") == []
        assert len(await system.events("ORDER_CANCELLED")) == 20
        assert await system.database.fetchval("SELECT max(epoch) FROM lanes") == 1
