"""The proof and the full audit pass sound books, and every rule finds its forgery."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import RecordsToDelete

from tests.conftest import PostgresServer
from tests.support.books import (
    buy,
    cancel,
    crossing,
    deposit,
    market_at,
    open_market,
    opened,
    resolve,
    sell,
    withdraw,
)
from tests.support.databases import connected, created, execute, named
from tests.support.invariants import seq_of, value_of
from tests.support.system import Sent, System
from tests.support.topics import administrator
from worker.adapters.postgres import statements
from worker.adapters.postgres.books import Books
from worker.app import make_broker
from worker.audit import Auditor, AuditResult, Proof, full_audit
from worker.audit.gather import audit_history
from worker.audit.invariants import INVARIANT_OF, INVARIANTS
from worker.audit.proof import prove
from worker.domain.commands import Outcome
from worker.embedded import EmbeddedKafka
from worker.errors import ConfigError, StoreError
from worker.ports import TopicPartition
from worker.topics import OutputTopics

TEMPLATE = "audit_template"


async def _trade(url: str) -> None:
    """Make books with settled and open markets, cancels, draws and refusals."""
    async with opened(url) as books:
        transfers, orders = await books.transfers(), await books.orders()
        await transfers.run(*[deposit(name, 100_000) for name in "abcd"])
        await transfers.run(withdraw("d", 500), withdraw("d", 10**9))
        settled, no, still_open = (market_at(0, name) for name in ("settled", "no", "open"))
        await orders.run(*[open_market(market) for market in (settled, no, still_open)])
        for market in (settled, no, still_open):
            await orders.run(
                buy(market, "a", 10, 55, "rests"),
                sell(market, "b", 4, 50),
                sell(market, "c", 3, 55),
                buy(market, "d", 5, 30, "gone"),
                buy(market, "b", 2, 20, "stays"),
                buy(market, "d", 10**9, 90),
            )
            await orders.run(cancel(market, "d", "gone"), cancel(market, "a", "rests"))
        await orders.run(resolve(settled), resolve(no, Outcome.NO))
        await orders.settle()


@pytest.fixture(scope="module")
def template(postgres_server: PostgresServer) -> Iterator[str]:
    """The name of a database with sound books, to be copied."""

    async def make() -> None:
        await execute(postgres_server.url, f"DROP DATABASE IF EXISTS {TEMPLATE}")
        await execute(postgres_server.url, f"CREATE DATABASE {TEMPLATE}")
        await _trade(named(postgres_server.url, TEMPLATE))

    asyncio.run(make())
    yield TEMPLATE
    asyncio.run(execute(postgres_server.url, f"DROP DATABASE {TEMPLATE} WITH (FORCE)"))


@pytest.fixture
async def url(postgres_server: PostgresServer, template: str) -> AsyncIterator[str]:
    async with created(postgres_server.url, f"audit_{uuid.uuid4().hex}", template) as made:
        yield made


def books(url: str) -> Books:
    return Books(url, timeout_s=10.0)


def forgeries(text: str) -> list[tuple[str, str]]:
    """Return the expected finding and the statements of each paragraph."""
    paragraphs = [block.split(": ", 1) for block in text.strip().split("\n\n")]
    return [(name, statements) for name, statements in paragraphs]


async def corrupt(url: str, statements: str) -> None:
    """Run statements that a worker could not. Each must change a row."""
    async with connected(url) as connection:
        for statement in statements.split(";"):
            tag = await connection.execute(statement)
            assert not tag.endswith(" 0"), f"{statement} changed nothing"


# The proof.


async def test_the_proof_of_sound_books_is_consistent(url: str) -> None:
    proof = await prove(books(url))

    assert proof.consistent
    assert proof.cash_conserved
    assert proof.backend.startswith("PostgreSQL ")
    assert (proof.cash_in, proof.cash_out) == (400_000, 500)
    assert proof.cash_in_pockets + proof.escrow == 399_500
    assert proof.escrow > 0
    assert proof.trades == 6
    assert proof.markets == {"open": 1, "halted": 0, "settling": 0, "settled": 2}
    assert proof.last_audit is None


async def test_the_proof_keeps_its_json_names(url: str) -> None:
    shown = (await prove(books(url))).as_json()

    assert list(shown)[:6] == [
        "backend",
        "trades",
        "ledgerImbalance",
        "negativeBalances",
        "cashConserved",
        "consistent",
    ]
    assert (shown["ledgerImbalance"], shown["negativeBalances"]) == (0, 0)
    assert shown["lastAudit"] is None


SEEN_BY_THE_PROOF = """
cash_conserved False: UPDATE pockets SET balance = balance + 1 WHERE lane = -1

ledger_imbalance 3: ALTER TABLE lanes DROP CONSTRAINT lanes_ledger_sum;
    UPDATE lanes SET ledger_sum = 3 WHERE lane = 0

negative_balances 1: ALTER TABLE pockets DROP CONSTRAINT pockets_balance;
    UPDATE pockets SET balance = balance - 200000 WHERE lane = -1
       AND account = (SELECT account FROM accounts WHERE account_id = 'a');
    UPDATE pockets SET balance = balance + 200000 WHERE lane = -1
       AND account = (SELECT account FROM accounts WHERE account_id = 'c')

positions_off 1: UPDATE positions SET quantity = quantity - 1 WHERE quantity < 0
       AND market = (SELECT market FROM markets WHERE status = 1)
       AND account = (SELECT account FROM accounts WHERE account_id = 'b')

escrow_mismatches 1: ALTER TABLE markets DROP CONSTRAINT markets_escrow;
    UPDATE markets SET payout = payout + 1 WHERE status = 1

open_interest_mismatches 1: DELETE FROM positions
     WHERE market = (SELECT market FROM markets WHERE status = 1)

journal_gaps 2: DELETE FROM batches b USING lanes l
     WHERE b.lane = l.lane AND l.batch_no = b.batch_no
"""


@pytest.mark.parametrize(("finding", "statements"), forgeries(SEEN_BY_THE_PROOF))
async def test_the_proof_finds_the_forgery(url: str, finding: str, statements: str) -> None:
    await corrupt(url, statements)

    proof = await prove(books(url))

    field, value = finding.split()
    assert str(getattr(proof, field)) == value
    assert not proof.consistent


async def test_the_proof_without_tables_names_migrate(empty_database_url: str) -> None:
    with pytest.raises(ConfigError, match="parity migrate"):
        await prove(books(empty_database_url))


async def test_the_proof_of_no_database_raises() -> None:
    with pytest.raises(StoreError):
        await prove(books("postgresql://postgres@127.0.0.1:1/nowhere"))


# The full audit.


@pytest.mark.parametrize("page_rows", [5_000, 3, 1])
async def test_right_books_pass_in_pages_of_any_size(url: str, page_rows: int) -> None:
    result = await full_audit(books(url), time.monotonic, page_rows=page_rows)

    assert result.violations == ()
    assert result.rows > 100


async def test_page_ends_between_postings_of_two_kinds(url: str) -> None:
    """A price and a fee of one trade differ in their kind only."""
    await corrupt(
        url,
        "INSERT INTO postings SELECT cause, account, lane, market, 7, amount FROM postings"
        " WHERE kind = 1",
    )
    async with books(url).snapshot(paged=True) as snapshot:
        pages = [page async for page in snapshot.pages(statements.AUDIT_LEDGER, 1)]
        whole = [page async for page in snapshot.pages(statements.AUDIT_LEDGER, 10_000)]
    assert [row for page in pages for row in page] == list(whole[0])


async def test_the_audit_of_empty_tables_passes(database_url: str) -> None:
    async with opened(database_url):
        result = await full_audit(books(database_url), time.monotonic)

    assert (result.violations, result.rows) == ((), 0)


SEEN_BY_THE_AUDIT = """
ledger_unbalanced: UPDATE postings SET amount = amount + 1
     WHERE amount > 0 AND cause = (SELECT trade FROM trades ORDER BY trade LIMIT 1)

ledger_unbalanced: UPDATE postings SET market = account
     WHERE amount > 0 AND cause = (SELECT trade FROM trades ORDER BY trade LIMIT 1)

pocket_differs: UPDATE pockets SET balance = balance + 1 WHERE lane = -1

pocket_differs: DELETE FROM pockets WHERE lane = -1

pocket_negative: ALTER TABLE pockets DROP CONSTRAINT pockets_balance;
    UPDATE pockets SET balance = -1 WHERE lane = -1

market_missing: DELETE FROM markets WHERE status = 4

trade_postings: DELETE FROM postings
     WHERE cause = (SELECT trade FROM trades ORDER BY trade LIMIT 1)

trade_postings: UPDATE trades SET price = price + 1

trade_postings: INSERT INTO postings SELECT trade, buyer, -1, market, 4, 1 FROM trades

posting_unfounded: DELETE FROM trades
     WHERE trade = (SELECT trade FROM trades ORDER BY trade LIMIT 1)

posting_unfounded: DELETE FROM transfers WHERE NOT deposit AND reason = ''

transfer_postings: UPDATE transfers SET amount = amount + 1 WHERE deposit

transfer_postings: UPDATE transfers SET reason = '' WHERE reason <> ''

order_unfit: UPDATE orders SET price = 100 WHERE order_id = 'stays'

order_astray: UPDATE orders SET lane = 1 WHERE order_id = 'stays'

settled_order_open: UPDATE orders SET leaves = 1, status = 1 WHERE order_id = 'stays'
       AND market IN (SELECT market FROM markets WHERE status = 4)

order_leaves: ALTER TABLE orders DROP CONSTRAINT orders_leaves;
    UPDATE orders SET leaves = 1 WHERE status = 2

order_fills: UPDATE orders SET quantity = quantity + 1 WHERE status = 2

order_fills: UPDATE orders SET quantity = 6 WHERE order_id = 'rests'

position_differs: UPDATE positions SET quantity = quantity + 1

position_differs: DELETE FROM positions WHERE quantity > 0

winner_unpaid: DELETE FROM payouts

payout_wrong: UPDATE payouts SET quantity = quantity + 1

payout_wrong: UPDATE payouts SET outcome = 3 - outcome

payout_postings: UPDATE payouts SET amount = amount + 100

payout_postings: DELETE FROM payouts

escrow_differs: UPDATE markets
       SET escrow = escrow + payout, open_interest = open_interest + 1 WHERE status = 1

escrow_not_covering: ALTER TABLE markets DROP CONSTRAINT markets_escrow;
    UPDATE markets SET escrow = escrow + 1 WHERE status = 1

open_interest: UPDATE markets
       SET escrow = escrow - payout, open_interest = open_interest - 1 WHERE status = 1

journal_gap: DELETE FROM batches WHERE lane = 0 AND batch_no = 2

journal_gap: DELETE FROM batches WHERE lane = 2

journal_offsets: UPDATE batches SET next_offset = next_offset + 1 WHERE lane = 0 AND batch_no = 2

journal_offsets: UPDATE lanes SET next_offset = next_offset + 1 WHERE lane = 0

journal_seqs: UPDATE batches SET last_seq = last_seq + 1 WHERE lane = 0 AND batch_no = 2

journal_seqs: UPDATE lanes SET last_seq = last_seq + 1 WHERE lane = 0

journal_epochs: UPDATE batches SET epoch = epoch + 1 WHERE lane = 0 AND batch_no = 2

journal_epochs: UPDATE lanes SET epoch = 0 WHERE lane = 0

journal_stray: UPDATE batches SET batch_id = gen_random_uuid() WHERE lane = 0 AND batch_no = 2

trade_unfit: UPDATE trades SET price = 100

trade_unfit: ALTER TABLE trades DROP CONSTRAINT trades_parties;
    UPDATE trades SET buyer = seller

cash_differs: UPDATE transfers SET amount = amount + 1 WHERE deposit

cash_differs: UPDATE pockets SET balance = balance + 1 WHERE lane = -1

balances_differ: CREATE OR REPLACE VIEW balances AS
    SELECT account, sum(balance)::bigint - 1 AS balance FROM pockets GROUP BY account

pocket_ownerless: DELETE FROM accounts WHERE account_id = 'a'

key_differs: UPDATE accounts SET account_id = 'e' WHERE account_id = 'a'

key_differs: UPDATE markets SET market_id = market_id || 'x' WHERE status = 1

key_differs: UPDATE orders SET order_id = order_id || 'x'

key_differs: UPDATE transfers SET transfer_id = transfer_id || 'x'

market_astray: UPDATE markets SET lane = 1 WHERE status = 1

market_astray: UPDATE markets SET stream = 'transfers-1' WHERE status = 1

unsettled: ALTER TABLE markets DROP CONSTRAINT markets_lifecycle;
    UPDATE markets SET status = 3 WHERE status = 1

row_unfounded: UPDATE trades SET seq = 1000

row_unfounded: UPDATE orders SET seq = 0

row_unfounded: UPDATE transfers SET seq = -1

row_unfounded: UPDATE postings SET cause = gen_random_uuid() WHERE kind = 2

row_unfounded: DELETE FROM batches WHERE lane = 0

row_unfounded: UPDATE lanes SET resume = '{' WHERE lane = 0

book_crossed: UPDATE orders SET side = 2, price = 20, leaves = 2, status = 1
     WHERE order_id = 'gone' AND market IN (SELECT market FROM markets WHERE status = 1)

positions_unbalanced: UPDATE positions SET quantity = quantity + 1 WHERE quantity > 0

settled_owes: ALTER TABLE markets DROP CONSTRAINT markets_settled;
    UPDATE markets SET open_interest = 1, escrow = payout WHERE status = 4

published_ahead: UPDATE lanes SET published_batch_no = batch_no WHERE lane = 0

lane_totals: UPDATE lanes SET trades = trades + 1 WHERE lane = 0

lane_totals: UPDATE lanes SET cash_in = cash_in + 1 WHERE lane = 2

lane_totals: UPDATE lanes SET cash_out = cash_out + 1 WHERE lane = 2

lane_totals: ALTER TABLE lanes DROP CONSTRAINT lanes_ledger_sum;
    UPDATE lanes SET ledger_sum = 3 WHERE lane = 0
"""


@pytest.mark.parametrize(("name", "statements"), forgeries(SEEN_BY_THE_AUDIT))
async def test_the_audit_finds_the_forgery(url: str, name: str, statements: str) -> None:
    await corrupt(url, statements)

    result = await full_audit(books(url), time.monotonic, page_rows=50)

    found = {violation.name: violation for violation in result.violations}
    assert name in found
    assert found[name].count >= len(found[name].examples) > 0
    assert found[name].invariant == INVARIANT_OF[name]


def test_every_rule_of_tables_has_its_forgery() -> None:
    rules = {rule for invariant in INVARIANTS.values() for rule in invariant.rows}
    assert {name for name, _ in forgeries(SEEN_BY_THE_AUDIT)} == rules


async def test_an_audit_counts_its_checks(url: str) -> None:
    result = await full_audit(books(url), time.monotonic)

    unchecked = {name for name, times in result.checked.items() if not times}
    assert unchecked == {name for name, invariant in INVARIANTS.items() if not invariant.rows}
    assert result.checked["I3"] >= 8


async def test_a_failed_audit_fails_the_proof(url: str) -> None:
    """The proof fails until the next audit passes."""
    auditor = Auditor(books(url), time.monotonic)
    await corrupt(url, "UPDATE lanes SET trades = trades + 1 WHERE lane = 0")
    assert (await auditor.prove()).consistent

    await auditor.audit()
    failed: Proof = await auditor.prove()
    await corrupt(url, "UPDATE lanes SET trades = trades - 1 WHERE lane = 0")
    await auditor.audit()

    assert failed.last_audit is not None
    assert (failed.last_audit.violations, failed.consistent) == (1, False)
    assert (await auditor.prove()).consistent


async def test_an_audit_sees_one_moment(url: str) -> None:
    reading = books(url)
    async with reading.snapshot(paged=True) as snapshot:
        before = await snapshot.totals()
        await corrupt(url, "UPDATE pockets SET balance = balance + 1 WHERE lane = -1")

        assert await snapshot.totals() == before


# The whole history.


async def audited(system: System) -> AuditResult:
    settings = system.settings
    outputs = OutputTopics(*settings.outputs, system.partitions)
    at = books(settings.database_url.get_secret_value())
    return (await audit_history(at, make_broker(settings), outputs, time.monotonic)).result


async def test_a_history_is_sound_until_forged(system: System, kafka_server: EmbeddedKafka) -> None:
    """The audit runs at work and at rest, then with a forged event, then after a trim."""
    await system.member()
    (market,), topic = await system.open(0), system.settings.orders_topic
    await system.send(topic, [Sent(partition, b"k", b"{") for partition in (0, 1)])
    trading = asyncio.create_task(system.publish(*crossing([market], 400)))

    at_work = await audited(system)
    await trading
    await system.answered()
    at_rest = await audited(system)

    assert (at_work.violations, at_rest.violations) == ((), ())
    assert 0 < at_work.events <= at_rest.events
    assert {name for name, times in at_rest.checked.items() if not times} == {"I14"}

    forged = system.log.records[TopicPartition(system.settings.events_topic, 0)][-1]
    seq = seq_of(forged)
    value = value_of(forged).replace(f'"seq":{seq},'.encode(), f'"seq":{seq + 1},'.encode())
    headers = [("ce_id", f"{topic}/0/{seq + 1}".encode())]
    await system.send(system.settings.events_topic, [Sent(0, forged.key, value, headers)])

    (violation,) = (await audited(system)).violations
    assert (violation.invariant, violation.name) == ("I11", "event_ahead")

    await _trim(kafka_server, topic)
    with pytest.raises(ConfigError, match="trimmed"):
        await audited(system)


async def _trim(kafka_server: EmbeddedKafka, topic: str) -> None:
    async with administrator(kafka_server.bootstrap) as admin:
        await admin.delete_records({KafkaPartition(topic, 0): RecordsToDelete(1)})
