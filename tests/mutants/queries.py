"""Broken SQL: the batch statement, its steps, what a lane reads.

The steps have the rules of the statement a second time, so most are broken twice.
"""

from typing import Final

from tests.mutants.mutant import Mutant, case, contract, mutant, tests

SQL: Final = "worker/adapters/postgres/sql"
BATCH: Final = f"{SQL}/commit_batch.sql"
STEPS: Final = "worker/adapters/postgres/steps.py"
STORE: Final = "tests/integration/test_store.py"
FENCE: Final = "test_the_fence_refuses"
POCKETS: Final = "test_no_pocket_moves_with"
TRADES: Final = "test_nothing_is_traded_with"
RESOLUTION: Final = "test_no_market_turns_with"
TRANSFERS: Final = "test_no_money_comes_or_goes_with"
ORDERS: Final = "test_no_order_is_written_with"


def step(name: str) -> str:
    return f"{SQL}/step_{name}.sql"


FENCES: Final = (
    mutant(
        "no fence",
        BATCH,
        """WHERE lane = $1 AND epoch = $2 AND batch_no = $3
       AND next_offset = $11 AND last_seq + 1 = $12 AND lane_time_ms <= $6""",
        "WHERE lane = $1",
        case(FENCE, "a batch number to come"),
    ),
    mutant(
        "no fence, in steps",
        step("fence"),
        """WHERE lane = $1 AND epoch = $2 AND batch_no = $3
   AND next_offset = $12 AND last_seq + 1 = $13 AND lane_time_ms <= $6""",
        """WHERE lane = $1
   AND ($2::bigint, $3::bigint, $12::bigint, $13::bigint) IS NOT NULL""",
        case(FENCE, "an epoch that has passed", in_steps=True),
    ),
    mutant(
        "an owner of the past may commit",
        BATCH,
        "epoch = $2 AND batch_no",
        "epoch >= $2 AND batch_no",
        case(FENCE, "an epoch that has passed"),
    ),
    mutant(
        "an owner of the past may commit, in steps",
        step("fence"),
        "epoch = $2",
        "epoch >= $2",
        case(FENCE, "an epoch that has passed", in_steps=True),
    ),
    mutant(
        "the epoch is set, not raised",
        f"{SQL}/take_over.sql",
        "epoch = epoch + 1",
        "epoch = 1",
        contract("test_every_take_over_raises_the_epoch_of_its_lane_alone"),
    ),
    mutant(
        "the offset is the fence instead of the batch number",
        BATCH,
        " AND batch_no = $3\n",
        " AND $3::bigint >= 0\n",
        case(FENCE, "a batch number to come"),
    ),
    mutant(
        "the offset is the fence instead of the batch number, in steps",
        step("fence"),
        " AND batch_no = $3\n",
        " AND $3::bigint >= 0\n",
        case(FENCE, "a batch number to come", in_steps=True),
    ),
    mutant(
        "offsets may be passed over",
        BATCH,
        "AND next_offset = $11 ",
        "AND next_offset <= $11 ",
        case(FENCE, "offsets passed over"),
    ),
    mutant(
        "offsets may be passed over, in steps",
        step("fence"),
        "AND next_offset = $12 ",
        "AND next_offset <= $12 ",
        case(FENCE, "offsets passed over", in_steps=True),
    ),
    mutant(
        "seqs may have gaps",
        BATCH,
        "AND last_seq + 1 = $12 ",
        "AND last_seq + 1 <= $12 ",
        case(FENCE, "a gap in the seqs"),
    ),
    mutant(
        "seqs may have gaps, in steps",
        step("fence"),
        "AND last_seq + 1 = $13 ",
        "AND last_seq + 1 <= $13 ",
        case(FENCE, "a gap in the seqs", in_steps=True),
    ),
    mutant(
        "lane time may go back",
        BATCH,
        " AND lane_time_ms <= $6\n",
        "\n",
        case(FENCE, "lane time that goes back"),
    ),
    mutant(
        "lane time may go back, in steps",
        step("fence"),
        " AND lane_time_ms <= $6\n",
        "\n",
        case(FENCE, "lane time that goes back", in_steps=True),
    ),
    mutant(
        "nobody counts the rows of the fence",
        BATCH,
        "(SELECT count(*) FROM fence)",
        "1",
        case(FENCE, "an epoch that has passed"),
    ),
    mutant(
        "nobody counts the rows of the fence, in steps",
        STEPS,
        "        fenced,\n",
        "        1,\n",
        case(FENCE, "an epoch that has passed", in_steps=True),
    ),
    mutant(
        "the published mark falls",
        BATCH,
        "greatest(published_batch_no, $9)",
        "$9",
        contract("test_the_published_mark_never_falls"),
    ),
    mutant(
        "the published mark falls, in steps",
        step("fence"),
        "greatest(published_batch_no, $9)",
        "$9",
        contract("test_the_published_mark_never_falls", "postgres_in_steps"),
    ),
    mutant(
        "what is left to do is not written",
        BATCH,
        "resume = $8,",
        "resume = left($8, 0),",
        contract("test_what_is_left_to_do_survives_a_take_over"),
    ),
    mutant(
        "what is left to do is not written, in steps",
        step("fence"),
        "resume = $8,",
        "resume = left($8, 0),",
        contract("test_what_is_left_to_do_survives_a_take_over", "postgres_in_steps"),
    ),
    mutant(
        "withdrawals do not count as money that left",
        BATCH,
        "WHERE NOT deposit AND reason = '')",
        "WHERE NOT deposit AND reason <> '')",
        contract("test_money_in_less_money_out_is_told_to_a_new_owner"),
    ),
    mutant(
        "withdrawals do not count as money that left, in steps",
        step("fence"),
        "WHERE NOT t.deposit AND t.reason = ''",
        "WHERE NOT t.deposit AND t.reason <> ''",
        contract("test_money_in_less_money_out_is_told_to_a_new_owner", "postgres_in_steps"),
    ),
)

MONEY: Final = (
    mutant(
        "a pocket pays what it does not hold",
        BATCH,
        " AND p.balance >= c.need",
        "",
        case(POCKETS, "a need that is not met"),
    ),
    mutant(
        "a pocket pays what it does not hold, in steps",
        step("pockets"),
        "   AND p.balance >= n.need",
        "",
        case(POCKETS, "a need that is not met", in_steps=True),
    ),
    mutant(
        "nobody counts the pockets that moved",
        BATCH,
        "           - (SELECT count(*) FROM moved) - (SELECT count(*) FROM opened)",
        "           - (SELECT count(*) FROM change WHERE lane >= -1)",
        case(POCKETS, "a need that is not met"),
    ),
    mutant(
        "nobody counts the pockets that moved, in steps",
        step("batch"),
        "- $19::bigint",
        "* (0 * $19::bigint)",
        case(POCKETS, "a need that is not met", in_steps=True),
    ),
    mutant(
        "pockets that are not named move all the same, in steps",
        step("batch"),
        """SELECT account, lane FROM change
                UNION
                SELECT""",
        "SELECT",
        case(POCKETS, "a pocket that is not named", in_steps=True),
    ),
    mutant(
        "a fresh pocket may have a need",
        BATCH,
        "WHERE fresh = 1 AND lane >= -1 AND need = 0",
        "WHERE fresh = 1 AND lane >= -1",
        case(POCKETS, "a fresh pocket with a need"),
    ),
    mutant(
        "a fresh pocket may have a need, in steps",
        step("new_pockets"),
        "   AND n.need = 0",
        "",
        case(POCKETS, "a fresh pocket with a need", in_steps=True),
    ),
    mutant(
        "escrow off by one",
        BATCH,
        "SET escrow = m.escrow + c.escrow,",
        "SET escrow = m.escrow + c.escrow + 1,",
        contract("test_pockets_and_positions_are_read_as_they_were_committed"),
    ),
    mutant(
        "escrow off by one, in steps",
        step("markets"),
        "SET escrow = m.escrow + c.escrow,",
        "SET escrow = m.escrow + c.escrow + 1,",
        contract("test_pockets_and_positions_are_read_as_they_were_committed", "postgres_in_steps"),
    ),
    mutant(
        "short sellers lock nothing",
        BATCH,
        "m.payout * (greatest(-t.after, 0) - greatest(-t.before, 0)) AS locked",
        "0::bigint AS locked",
        contract("test_pockets_and_positions_are_read_as_they_were_committed"),
    ),
    mutant(
        "short sellers lock nothing, in steps",
        step("ledger"),
        "m.payout * (greatest(-p.quantity, 0) - greatest(leg.quantity - p.quantity, 0)) AS locked",
        "0::bigint AS locked",
        contract("test_pockets_and_positions_are_read_as_they_were_committed", "postgres_in_steps"),
    ),
    mutant(
        "the seller pays and the buyer is paid",
        BATCH,
        """1::smallint, -price * quantity FROM trade
    UNION ALL
    SELECT trade, seller, $1::int, market, 1, price * quantity FROM trade""",
        """1::smallint, price * quantity FROM trade
    UNION ALL
    SELECT trade, seller, $1::int, market, 1, -price * quantity FROM trade""",
        contract("test_pockets_and_positions_are_read_as_they_were_committed"),
    ),
    mutant(
        "a draw arrives twice",
        BATCH,
        "ELSE d.amount END END",
        "ELSE 2 * d.amount END END",
        contract("test_pockets_and_positions_are_read_as_they_were_committed"),
    ),
    mutant(
        "a draw arrives twice, in steps",
        step("ledger"),
        "ELSE d.amount END END",
        "ELSE 2 * d.amount END END",
        contract("test_pockets_and_positions_are_read_as_they_were_committed", "postgres_in_steps"),
    ),
    mutant(
        "a draw may come from an escrow",
        BATCH,
        "d.amount > 0 AND d.source >= -1",
        "d.amount > 0 AND d.source >= -3",
        case(TRANSFERS, "a draw from an escrow"),
    ),
    mutant(
        "a draw may go backwards",
        BATCH,
        "CASE WHEN d.amount > 0 AND",
        "CASE WHEN",
        case(TRANSFERS, "a draw backwards"),
    ),
    mutant(
        "a draw may go backwards, in steps",
        step("ledger"),
        "CASE WHEN d.amount > 0 AND",
        "CASE WHEN",
        case(TRANSFERS, "a draw backwards from a pocket that can pay", in_steps=True),
    ),
    mutant(
        "a deposit that was refused is paid in",
        BATCH,
        """CASE WHEN deposit THEN amount ELSE -amount END
      FROM transfer WHERE reason = ''""",
        """CASE WHEN deposit THEN amount ELSE -amount END
      FROM transfer""",
        contract("test_first_answers_of_transfers_are_read_with_what_was_asked"),
    ),
)

MARKETS: Final = (
    mutant(
        "trades at the payout or above",
        BATCH,
        "WHERE t.price >= m.payout",
        "WHERE t.price > 2 * m.payout",
        case(TRADES, "the payout as price"),
    ),
    mutant(
        "trades at the payout or above, in steps",
        step("trades"),
        "   AND d.price < m.payout",
        "",
        case(TRADES, "the payout as price", in_steps=True),
    ),
    mutant(
        "a halted market trades",
        BATCH,
        "FILTER (WHERE m.status = 1)",
        "FILTER (WHERE m.status <= 2)",
        case(TRADES, "a halted market"),
    ),
    mutant(
        "a halted market trades, in steps",
        step("trades"),
        "m.status = 1",
        "m.status <= 2",
        case(TRADES, "a halted market", in_steps=True),
    ),
    mutant(
        "nobody counts the trades, in steps",
        STEPS,
        "_rows(trades) - traded",
        "0 * traded",
        case(TRADES, "a halted market", in_steps=True),
    ),
    mutant(
        "a market trades in the batch that opens it, in steps",
        step("trades"),
        "WHERE n.market = d.market)",
        "WHERE n.market <> d.market)",
        case(TRADES, "a market that the batch itself opens", in_steps=True),
    ),
    mutant(
        "a position is sold and paid in one batch",
        BATCH,
        "WHERE f.outcome > 0)) AS both_done",
        "WHERE f.outcome > 2)) AS both_done",
        case(TRADES, "a market that the batch resolves"),
    ),
    mutant(
        "a position is sold and paid in one batch, in steps",
        step("batch"),
        "WHERE f.outcome > 0)) AS both_done",
        "WHERE f.outcome > 2)) AS both_done",
        case(TRADES, "a market that the batch resolves", in_steps=True),
    ),
    mutant(
        "a market of another lane is changed",
        BATCH,
        "CASE WHEN m.lane = $1\n                 AND",
        "CASE WHEN",
        case(RESOLUTION, "the market of another lane"),
    ),
    mutant(
        "a market of another lane is changed, in steps",
        step("markets"),
        "CASE WHEN m.lane = $1\n             AND",
        "CASE WHEN $1::int IS NOT NULL AND",
        case(RESOLUTION, "an event of another lane's market", in_steps=True),
    ),
    mutant(
        "nobody counts the markets that changed",
        BATCH,
        "(SELECT count(*) FROM market_change) - (SELECT count(*) FROM market)",
        "0",
        case(RESOLUTION, "a market that is not there"),
    ),
    mutant(
        "nobody counts the markets that changed, in steps",
        STEPS,
        'len(_named("market", *turning)) - changed',
        "0 * changed",
        case(RESOLUTION, "a market that is not there", in_steps=True),
    ),
    mutant(
        "a resolved market opens again",
        BATCH,
        "AND (c.status = 0 OR c.status > m.status)",
        "",
        case(RESOLUTION, "a resolved market opened again"),
    ),
    mutant(
        "a resolved market is resolved again",
        BATCH,
        "AND (c.outcome = 0 OR m.outcome = 0)",
        "",
        case(RESOLUTION, "the same outcome again"),
    ),
    mutant(
        "a resolved market is resolved again, in steps",
        step("markets"),
        "AND (c.outcome = 0 OR m.outcome = 0)",
        "",
        case(RESOLUTION, "the same outcome again", in_steps=True),
    ),
    mutant(
        "a market's events may go back",
        BATCH,
        "CASE WHEN events >= 0 AND status >= 0",
        "CASE WHEN status >= 0",
        case(RESOLUTION, "events that go back"),
    ),
    mutant(
        "a market's events may go back, in steps",
        STEPS,
        " or row[name] < 0 for name",
        " for name",
        case(RESOLUTION, "events that go back", in_steps=True),
    ),
)

PAYMENTS: Final = (
    mutant(
        "nobody counts the payees",
        BATCH,
        "json_array_length($25::json) - (SELECT count(*) FROM paid)",
        "0",
        case(RESOLUTION, "a payee without a position"),
    ),
    mutant(
        "nobody counts the payees, in steps",
        STEPS,
        "_rows(payees) - paid",
        "0 * paid",
        case(RESOLUTION, "a payee without a position", in_steps=True),
    ),
    mutant(
        "holders are paid before the market is resolved",
        BATCH,
        """WHERE m.outcome = d.outcome
        OR (m.outcome = 0""",
        """WHERE m.outcome = d.outcome OR m.outcome = 0
        OR (m.outcome = 0""",
        case(RESOLUTION, "a payee of a market that goes on"),
    ),
    mutant(
        "holders are paid before the market is resolved, in steps",
        step("payouts"),
        """WHERE m.outcome = d.outcome
    OR (m.outcome = 0""",
        """WHERE m.outcome = d.outcome OR m.outcome = 0
    OR (m.outcome = 0""",
        case(RESOLUTION, "a payee of a market that goes on", in_steps=True),
    ),
    mutant(
        "losers are paid",
        BATCH,
        "CASE d.outcome WHEN 1 THEN p.quantity WHEN 2 THEN -p.quantity END AS quantity",
        "abs(p.quantity) AS quantity",
        case(RESOLUTION, "a holder who did not win"),
    ),
    mutant(
        "a page begins with whom the last one paid",
        f"{SQL}/read_payees.sql",
        "p.account > $4",
        "p.account >= $4",
        contract("test_a_page_goes_on_after_the_last_account_paid"),
    ),
    mutant(
        "YES pays whoever sold",
        f"{SQL}/read_payees.sql",
        "$3::int = 1 AND p.quantity > 0",
        "$3::int = 1 AND p.quantity < 0",
        contract("test_a_page_goes_on_after_the_last_account_paid"),
    ),
    mutant(
        "filled orders are closed as dead ones",
        f"{SQL}/read_dead_orders.sql",
        "   AND o.leaves > 0\n",
        "",
        contract("test_a_page_holds_the_dead_orders_first_and_then_the_payees"),
    ),
    mutant(
        "what a resolved market still owes counts twice",
        "worker/adapters/postgres/schema/0015_balances.sql",
        "AND NOT EXISTS (SELECT 1 FROM payouts d"
        " WHERE d.market = p.market AND d.account = p.account)",
        "",
        tests("tests/integration/test_guards.py::test_after_a_long_random_flow_every_sum_is_right"),
    ),
)

ORDER_ROWS: Final = (
    mutant(
        "an order of another lane is changed",
        BATCH,
        "CASE WHEN o.lane = $1 AND",
        "CASE WHEN",
        case(ORDERS, "an order of another lane"),
    ),
    mutant(
        "an order of another lane is changed, in steps",
        step("order_changes"),
        "CASE WHEN o.lane = $1 AND",
        "CASE WHEN $1::int IS NOT NULL AND",
        case(ORDERS, "an order of another lane", in_steps=True),
    ),
    mutant(
        "an order that ended is opened again",
        BATCH,
        "o.leaves > 0 AND o.leaves >= u.leaves",
        "o.leaves >= u.leaves",
        case(ORDERS, "an order closed before"),
    ),
    mutant(
        "leaves rise",
        BATCH,
        " AND o.leaves >= u.leaves",
        "",
        case(ORDERS, "leaves that rise"),
    ),
    mutant(
        "leaves rise, in steps",
        step("order_changes"),
        " AND o.leaves >= u.leaves",
        "",
        case(ORDERS, "leaves that rise to less than was asked for", in_steps=True),
    ),
    mutant(
        "nobody counts the orders that changed",
        BATCH,
        "json_array_length($21::json) - (SELECT count(*) FROM changed_order)",
        "0",
        case(ORDERS, "an order that is not there"),
    ),
    mutant(
        "nobody counts the orders that changed, in steps",
        STEPS,
        "_rows(order_changes) - ended",
        "0 * ended",
        case(ORDERS, "an order that is not there", in_steps=True),
    ),
    mutant(
        "a known order is passed over in silence",
        BATCH,
        "           reason text)\n), changed_order AS (",
        "           reason text)\n    ON CONFLICT DO NOTHING\n), changed_order AS (",
        contract("test_an_order_id_that_is_taken_is_refused_by_the_orders_key"),
    ),
    mutant(
        "a known order is passed over in silence, in steps",
        step("new_orders"),
        "       reason text)",
        "       reason text)\n    ON CONFLICT DO NOTHING",
        contract(
            "test_an_order_id_that_is_taken_is_refused_by_the_orders_key", "postgres_in_steps"
        ),
    ),
    mutant(
        "a known transfer is passed over in silence, in steps",
        step("transfers"),
        "seq bigint, reason text)",
        "seq bigint, reason text)\n    ON CONFLICT DO NOTHING",
        contract(
            "test_a_transfer_id_that_is_taken_is_refused_by_the_transfers_key",
            "postgres_in_steps",
        ),
    ),
)

READINGS: Final = (
    mutant(
        "what was gathered for a withdrawal is drawn by others",
        f"{SQL}/read_facts.sql",
        "l.kind = 'TRANSFERS'",
        "l.kind = 'NONE'",
        contract("test_the_pocket_of_a_transfers_lane_is_shown_to_that_lane_alone"),
    ),
    mutant(
        "settled markets are loaded",
        f"{SQL}/load_markets.sql",
        "   AND status < 4\n",
        "",
        contract("test_only_the_markets_of_the_lane_that_are_not_settled_are_loaded"),
    ),
    mutant(
        "orders that ended are loaded",
        f"{SQL}/load_orders.sql",
        "   AND o.leaves > 0\n",
        "",
        contract("test_open_orders_are_loaded_oldest_first_and_only_those"),
    ),
    mutant(
        "orders of resolved markets are loaded",
        "worker/adapters/postgres/store.py",
        'row["market_status"] < MarketStatus.SETTLING',
        'row["market_status"] <= MarketStatus.SETTLED',
        contract(
            "test_open_orders_of_a_resolved_market_are_dead_and_those_of_a_halted_one_are_not"
        ),
    ),
    mutant(
        "open orders are loaded in the order of their keys",
        "worker/adapters/postgres/store.py",
        "return sorted(found, key=lambda entry: entry[1].seq)",
        "return found",
        contract("test_open_orders_are_loaded_oldest_first_and_only_those"),
    ),
    mutant(
        "the journal comes in any order",
        f"{SQL}/read_journal.sql",
        "ORDER BY batch_no",
        "ORDER BY batch_no DESC",
        contract("test_the_journal_gives_batches_back_in_order_byte_for_byte"),
    ),
)

MUTANTS: Final[tuple[Mutant, ...]] = (
    *FENCES,
    *MONEY,
    *MARKETS,
    *PAYMENTS,
    *ORDER_ROWS,
    *READINGS,
)
