"""Broken SQL of the batch statement, of its steps and of a lane's queries.

The statement and its steps are made of the same parts. Most parts have two mutants, because each
of the two ways must fail on its own.
"""

from typing import Final

from tests.mutants.mutant import Edit, Mutant, case, contract, mutant, tests

SQL: Final = "worker/adapters/postgres/sql"
STEPS: Final = "worker/adapters/postgres/steps.py"
NEW_MARKETS: Final = 'Part(compose("new_markets"), ("markets",), inserts="markets"),'
NEW_ORDERS: Final = 'Part(compose("new_orders"), ("orders",), inserts="orders"),'
CHANGED_ORDERS: Final = (
    'Part(compose("order_changes"), ("order_changes",), counted_as="orders_changed"),'
)
FIRST_STEP: Final = 'Part(compose("step_fence"), counted_as="lane_rows"),'
FENCE: Final = "test_the_fence_refuses"
POCKETS: Final = "test_no_pocket_moves_with"
TRADES: Final = "test_nothing_is_traded_with"
RESOLUTION: Final = "test_no_market_turns_with"
TRANSFERS: Final = "test_no_money_comes_or_goes_with"
ORDERS: Final = "test_no_order_is_written_with"
FILLED_BEFORE: Final = "test_no_order_is_written_after_a_fill_with"


def step(name: str) -> str:
    return f"{SQL}/step_{name}.sql"


def part(name: str) -> str:
    return f"{SQL}/parts/{name}.sql"


def both(
    name: str, path: str, old: str, new: str, case_of: tuple[str, str], in_steps: str = ""
) -> tuple[Mutant, Mutant]:
    """Return a mutant of a part of the statement for each way in which the part is sent.

    ``in_steps`` names the wrong batch for the way in steps, if that batch is another one.
    """
    test, what = case_of
    return (
        mutant(name, path, old, new, case(test, what)),
        mutant(f"{name}, in steps", path, old, new, case(test, in_steps or what, in_steps=True)),
    )


def both_stores(name: str, path: str, old: str, new: str, test: str) -> tuple[Mutant, Mutant]:
    """Return a mutant for each way, killed by a test of the store's contract."""
    return (
        mutant(name, path, old, new, contract(test)),
        mutant(f"{name}, in steps", path, old, new, contract(test, "postgres_in_steps")),
    )


MONEY_READ: Final = "test_pockets_and_positions_are_read_as_committed"

FENCES: Final = (
    *both(
        "leave out the fence",
        part("fence"),
        """WHERE lane = $lane AND epoch = $epoch AND batch_no = $batch_no - 1
   AND next_offset = $first_offset AND last_seq + 1 = $first_seq
   AND lane_time_ms <= $lane_time_ms""",
        "WHERE lane = $lane",
        (FENCE, "a batch number to come"),
        "an epoch that has passed",
    ),
    *both(
        "let a fenced owner commit",
        part("fence"),
        "epoch = $epoch",
        "epoch >= $epoch",
        (FENCE, "an epoch that has passed"),
    ),
    mutant(
        "set the epoch instead of raising it",
        f"{SQL}/take_over.sql",
        "epoch = epoch + 1",
        "epoch = 1",
        contract("test_take_over_raises_its_lane_epoch_alone"),
    ),
    *both(
        "leave the batch number out of the fence",
        part("fence"),
        " AND batch_no = $batch_no - 1\n",
        "\n",
        (FENCE, "a batch number to come"),
    ),
    *both(
        "accept skipped offsets",
        part("fence"),
        "AND next_offset = $first_offset ",
        "AND next_offset <= $first_offset ",
        (FENCE, "offsets passed over"),
    ),
    *both(
        "accept gaps in the seqs",
        part("fence"),
        "AND last_seq + 1 = $first_seq",
        "AND last_seq + 1 <= $first_seq",
        (FENCE, "a gap in the seqs"),
    ),
    *both(
        "accept lane time that goes back",
        part("fence"),
        "   AND lane_time_ms <= $lane_time_ms\n",
        "",
        (FENCE, "lane time that goes back"),
    ),
    mutant(
        "leave the rows of the fence uncounted",
        part("batch_row"),
        "(SELECT count(*) FROM fence)",
        "1",
        case(FENCE, "an epoch that has passed"),
    ),
    mutant(
        "leave the rows of the fence uncounted, in steps",
        step("batch"),
        "generate_series(1, $lane_rows)",
        "generate_series(1, 1 + 0 * $lane_rows)",
        case(FENCE, "an epoch that has passed", in_steps=True),
    ),
    *both_stores(
        "let the published mark fall",
        part("fence"),
        "greatest(published_batch_no, $published_batch_no)",
        "$published_batch_no",
        "test_the_published_mark_never_falls",
    ),
    *both_stores(
        "leave the unfinished work unwritten",
        part("fence"),
        "resume = $resume,",
        "resume = left($resume, 0),",
        "test_unfinished_work_survives_a_take_over",
    ),
    *both_stores(
        "leave withdrawals out of net cash",
        part("fence"),
        "WHERE NOT deposit AND reason = '')",
        "WHERE NOT deposit AND reason <> '')",
        "test_new_owner_gets_the_net_cash",
    ),
)

MONEY: Final = (
    *both(
        "let a pocket pay more than it holds",
        part("pockets"),
        " AND p.balance >= c.need",
        "",
        (POCKETS, "a need that is not met"),
    ),
    *both(
        "leave the moved pockets uncounted",
        part("batch_row"),
        "           - (SELECT count(*) FROM moved) - (SELECT count(*) FROM opened)",
        "           - (SELECT count(*) FROM change WHERE lane >= {lane.WALLET})",
        (POCKETS, "a need that is not met"),
    ),
    *both(
        "move a pocket that the batch does not name",
        part("batch_row"),
        "(SELECT count(*) FROM change WHERE lane >= {lane.WALLET})",
        "json_array_length($pockets)",
        (POCKETS, "a pocket that is not named"),
    ),
    *both(
        "accept a need of a new pocket",
        part("new_pockets"),
        " AND need = 0",
        "",
        (POCKETS, "a fresh pocket with a need"),
    ),
    *both_stores(
        "book one too much into escrow",
        part("markets"),
        "SET escrow = m.escrow + c.escrow,",
        "SET escrow = m.escrow + c.escrow + 1,",
        MONEY_READ,
    ),
    *both_stores(
        "lock no collateral of short sellers",
        part("exposures"),
        "m.payout * (greatest(-t.after, 0) - greatest(-t.before, 0)) AS locked",
        "0::bigint AS locked",
        MONEY_READ,
    ),
    mutant(
        "read positions from before the batch, in steps",
        part("written"),
        "SELECT p.market, p.account, p.quantity\n      FROM leg",
        "SELECT p.market, p.account, p.quantity - leg.quantity AS quantity\n      FROM leg",
        contract(MONEY_READ, "postgres_in_steps"),
    ),
    *both_stores(
        "pay the buyer and charge the seller",
        part("postings"),
        """{kind.PRICE}::smallint, -price * quantity FROM trade
UNION ALL
SELECT trade, seller, $lane, market, {kind.PRICE}, price * quantity FROM trade""",
        """{kind.PRICE}::smallint, price * quantity FROM trade
UNION ALL
SELECT trade, seller, $lane, market, {kind.PRICE}, -price * quantity FROM trade""",
        MONEY_READ,
    ),
    *both_stores(
        "credit a draw twice",
        part("postings"),
        "ELSE d.amount END END",
        "ELSE 2 * d.amount END END",
        MONEY_READ,
    ),
    mutant(
        "accept a draw from an escrow",
        part("postings"),
        "d.amount > 0 AND d.source >= {lane.WALLET}",
        "d.amount > 0 AND d.source >= {lane.OUTSIDE}",
        case(TRANSFERS, "a draw from an escrow"),
    ),
    *both(
        "accept a negative draw",
        part("postings"),
        "CASE WHEN d.amount > 0 AND",
        "CASE WHEN",
        (TRANSFERS, "a draw backwards"),
        "a draw backwards from a pocket that can pay",
    ),
    *both_stores(
        "credit a refused deposit",
        part("postings"),
        """CASE WHEN deposit THEN amount ELSE -amount END
  FROM transfer WHERE reason = ''""",
        """CASE WHEN deposit THEN amount ELSE -amount END
  FROM transfer""",
        "test_first_answers_of_transfers_are_read",
    ),
)

MARKETS: Final = (
    *both(
        "accept trades at the payout or above",
        part("trade_guards"),
        "WHERE t.price >= m.payout",
        "WHERE t.price > 2 * m.payout",
        (TRADES, "the payout as price"),
    ),
    *both(
        "accept trades in a halted market",
        part("trade_guards"),
        "FILTER (WHERE m.status = {market.OPEN})",
        "FILTER (WHERE m.status <= {market.HALTED})",
        (TRADES, "a halted market"),
    ),
    mutant(
        "leave trades in markets that are not open uncounted, in steps",
        step("batch"),
        "$trades_mispriced, $trades_not_open",
        "$trades_mispriced, 0 * $trades_not_open",
        case(TRADES, "a halted market", in_steps=True),
    ),
    Mutant(
        "accept trades in the batch that opens their market, in steps",
        (
            Edit(STEPS, f"    {NEW_MARKETS}\n", ""),
            Edit(STEPS, f"    {FIRST_STEP}\n", f"    {NEW_MARKETS}\n    {FIRST_STEP}\n"),
        ),
        case(TRADES, "a market that the batch itself opens", in_steps=True),
    ),
    mutant(
        "let a step insert fewer trades than stated",
        STEPS,
        ', ("trades",), inserts="trades"),',
        ', ("trades",)),',
        tests(
            "tests/integration/test_dsql_refusals.py::test_step_with_too_few_rows_is_refused[trades]"
        ),
    ),
    mutant(
        "let a step insert fewer rows than stated",
        STEPS,
        "if part.inserts and written != (stated := _stated(part.inserts, given)):",
        "if part.inserts and written > (stated := _stated(part.inserts, given)):",
        tests("tests/integration/test_dsql_refusals.py::test_step_with_too_few_rows_is_refused"),
    ),
    *both(
        "accept trades in the batch that resolves their market",
        part("batch_row"),
        "WHERE f.outcome > {outcome.NONE})) AS both_done",
        "WHERE f.outcome > {outcome.NO})) AS both_done",
        (TRADES, "a market that the batch resolves"),
    ),
    *both(
        "change a market of another lane",
        part("markets"),
        "CASE WHEN m.lane = $lane\n             AND",
        "CASE WHEN",
        (RESOLUTION, "the market of another lane"),
        "an event of another lane's market",
    ),
    *both(
        "leave the changed markets uncounted",
        part("batch_row"),
        "(SELECT count(*) FROM market_change) - (SELECT count(*) FROM market)",
        "0",
        (RESOLUTION, "a market that is not there"),
    ),
    *both(
        "let a resolved market open again",
        part("markets"),
        "AND (c.status = 0 OR c.status > m.status)",
        "",
        (RESOLUTION, "a resolved market opened again"),
    ),
    *both(
        "let a resolved market be resolved again",
        part("markets"),
        "AND (c.outcome = {outcome.NONE} OR m.outcome = {outcome.NONE})",
        "",
        (RESOLUTION, "the same outcome again"),
    ),
    *both(
        "accept a market's event count that goes back",
        part("market_changes"),
        "CASE WHEN events >= 0 AND status >= 0",
        "CASE WHEN status >= 0",
        (RESOLUTION, "events that go back"),
    ),
)

PAYMENTS: Final = (
    *both(
        "leave the payees uncounted",
        part("batch_row"),
        "json_array_length($payees) - (SELECT count(*) FROM paid)",
        "0",
        (RESOLUTION, "a payee without a position"),
    ),
    mutant(
        "pay an account for both outcomes, in steps",
        part("written"),
        " AND o.outcome = d.outcome",
        "",
        case(RESOLUTION, "a winner paid again for the other outcome", in_steps=True),
    ),
    *both(
        "pay holders before the market is resolved",
        part("payees"),
        """WHERE m.outcome = d.outcome
    OR (m.outcome = {outcome.NONE}""",
        """WHERE m.outcome = d.outcome OR m.outcome = {outcome.NONE}
    OR (m.outcome = {outcome.NONE}""",
        (RESOLUTION, "a payee of a market that goes on"),
    ),
    mutant(
        "pay the losers",
        part("payees"),
        "CASE d.outcome WHEN {outcome.YES} THEN p.quantity WHEN {outcome.NO} THEN -p.quantity END",
        "abs(p.quantity)",
        case(RESOLUTION, "a holder that lost"),
    ),
    mutant(
        "begin a page with the last payee of the page before",
        f"{SQL}/read_payees.sql",
        "p.account > $4",
        "p.account >= $4",
        contract("test_page_continues_after_the_last_payee"),
    ),
    mutant(
        "pay the sellers on YES",
        f"{SQL}/read_payees.sql",
        "$3::int = {outcome.YES} AND p.quantity > 0",
        "$3::int = {outcome.YES} AND p.quantity < 0",
        contract("test_page_continues_after_the_last_payee"),
    ),
    mutant(
        "close filled orders as dead orders",
        f"{SQL}/read_dead_orders.sql",
        "   AND o.leaves > 0\n",
        "",
        contract("test_page_has_dead_orders_before_payees"),
    ),
    mutant(
        "count a payout twice while its market settles",
        "worker/adapters/postgres/schema/0015_balances.sql",
        "AND NOT EXISTS (SELECT 1 FROM payouts d"
        " WHERE d.market = p.market AND d.account = p.account)",
        "",
        tests("tests/integration/test_guards.py::test_every_sum_is_right_after_random_flow"),
    ),
)

ORDER_ROWS: Final = (
    *both(
        "change an order of another lane",
        part("order_changes"),
        "CASE WHEN o.lane = $lane AND",
        "CASE WHEN",
        (ORDERS, "an order of another lane"),
    ),
    *both(
        "reopen an order that ended",
        part("order_changes"),
        "o.leaves > 0 AND o.leaves >= u.leaves",
        "o.leaves >= u.leaves",
        (ORDERS, "an order closed before"),
    ),
    *both(
        "let leaves rise",
        part("order_changes"),
        " AND o.leaves >= u.leaves",
        "",
        (FILLED_BEFORE, "leaves that rise to less than was asked for"),
    ),
    Mutant(
        "change an order that the batch inserts, in steps",
        (
            Edit(STEPS, f"    {NEW_ORDERS}\n", ""),
            Edit(STEPS, f"    {CHANGED_ORDERS}\n", f"    {NEW_ORDERS}\n    {CHANGED_ORDERS}\n"),
        ),
        case(ORDERS, "a change of an order that the batch inserts", in_steps=True),
    ),
    *both(
        "leave the changed orders uncounted",
        part("batch_row"),
        "json_array_length($order_changes) - (SELECT count(*) FROM changed_order)",
        "0",
        (ORDERS, "an order that is not there"),
    ),
    *both_stores(
        "skip a known order silently",
        part("new_orders"),
        "       reason text)\n",
        "       reason text)\nON CONFLICT DO NOTHING\n",
        "test_taken_order_id_is_refused_by_its_key",
    ),
    *both_stores(
        "skip a known transfer silently",
        part("new_transfers"),
        "-- include: stated_transfers\n",
        "-- include: stated_transfers\nON CONFLICT DO NOTHING\n",
        "test_taken_transfer_id_is_refused_by_its_key",
    ),
)

READINGS: Final = (
    mutant(
        "show other lanes the money gathered for a withdrawal",
        f"{SQL}/read_facts.sql",
        "l.kind = 'TRANSFERS'",
        "l.kind = 'NONE'",
        contract("test_pocket_of_a_transfers_lane_is_its_own"),
    ),
    mutant(
        "load settled markets",
        f"{SQL}/load_markets.sql",
        "   AND status < {market.SETTLED}\n",
        "",
        contract("test_unsettled_markets_of_the_lane_are_loaded"),
    ),
    mutant(
        "load orders that ended",
        f"{SQL}/load_orders.sql",
        "   AND o.leaves > 0\n",
        "",
        contract("test_open_orders_are_loaded_oldest_first"),
    ),
    mutant(
        "load orders of resolved markets",
        "worker/adapters/postgres/store.py",
        'row["market_status"] < MarketStatus.SETTLING',
        'row["market_status"] <= MarketStatus.SETTLED',
        contract("test_orders_of_a_resolved_market_are_dead"),
    ),
    mutant(
        "load only the first page of open orders",
        "worker/adapters/postgres/store.py",
        "full = len(page) == LOAD_ROWS",
        "full = False",
        tests("tests/integration/test_store.py::test_a_lane_loaded_in_pages_is_loaded_whole[2]"),
    ),
    mutant(
        "read the journal in reverse order",
        f"{SQL}/read_journal.sql",
        "ORDER BY batch_no",
        "ORDER BY batch_no DESC",
        contract("test_journal_returns_the_same_bytes_in_order"),
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
