"""Broken rules: matching, money, answers, settlement, transfers, what is read from the wire."""

from typing import Final

from tests.mutants.mutant import Mutant, mutant, seeds, tests

DOMAIN: Final = "worker/domain"
MATCHING: Final = f"{DOMAIN}/matching.py"
BOOK: Final = f"{DOMAIN}/book.py"
FUNDING: Final = f"{DOMAIN}/funding.py"
PURSE: Final = f"{DOMAIN}/purse.py"
PLAN: Final = f"{DOMAIN}/plan.py"
DRAFT: Final = f"{DOMAIN}/draft.py"
ORDERS: Final = f"{DOMAIN}/orders.py"
TRANSFERS: Final = f"{DOMAIN}/transfers.py"
SETTLEMENT: Final = f"{DOMAIN}/settlement.py"
COMMANDS: Final = "worker/wire/commands.py"

MODEL: Final = "tests/property/test_model.py"
LAWS: Final = "tests/property/test_laws.py"
PLANS: Final = "tests/unit/domain/test_plan.py"
COMMITTER: Final = "tests/unit/test_commit.py"
WIRE: Final = "tests/unit/wire/test_commands.py"
ONE_LANE: Final = tests(f"{MODEL}::test_one_lane_with_its_caches")
READS_ALL: Final = tests(f"{MODEL}::test_one_lane_that_reads_everything")
RICH: Final = tests(f"{MODEL}::test_rich_accounts_need_no_fresh_look")
DRAWS: Final = tests(f"{LAWS}::test_draws_and_needs_are_those_of_the_design")

TRADING: Final = (
    mutant(
        "the taker's price instead of the maker's",
        MATCHING,
        "order, market, price = taker.order, taker.market, maker.price",
        "order, market, price = taker.order, taker.market, taker.order.price",
        RICH,
    ),
    mutant(
        "newest first",
        BOOK,
        "level.queue.append(order.name)",
        "level.queue.insert(level.head, order.name)",
        RICH,
    ),
    mutant(
        "the worst price first",
        BOOK,
        "level = self._levels[side][_price(side, ranks[-1])]\n        head",
        "level = self._levels[side][_price(side, ranks[0])]\n        head",
        RICH,
    ),
    mutant(
        "a residual is lost",
        MATCHING,
        "        book.add(taker.order.left(taker.leaves))\n",
        "",
        RICH,
    ),
    mutant(
        "a residual rests with all that it asked for",
        MATCHING,
        "book.add(taker.order.left(taker.leaves))",
        "book.add(taker.order)",
        RICH,
    ),
    mutant(
        "a fill leaves its maker as it was",
        BOOK,
        "order.left(Quantity(order.leaves - quantity))",
        "order",
        RICH,
    ),
    mutant(
        "prices that are equal do not meet",
        MATCHING,
        "maker.price <= price if side is Side.BUY else maker.price >= price",
        "maker.price < price if side is Side.BUY else maker.price > price",
        RICH,
    ),
    mutant(
        "an account trades with itself",
        MATCHING,
        "if maker.account_id == order.account_id:",
        "if maker is order:",
        RICH,
    ),
    mutant(
        "what is left of an IOC order rests",
        MATCHING,
        "elif taker.time_in_force is TimeInForce.IOC:",
        "elif taker.time_in_force is None:",
        RICH,
    ),
    mutant(
        "commands are answered while a sweep waits",
        PLAN,
        "if draft.sweep is not None or not _may_follow(",
        "if not _may_follow(",
        tests(f"{LAWS}::test_where_batches_are_cut_does_not_show"),
    ),
    mutant(
        "a sweep is taken up with all that it asked for",
        MATCHING,
        "order=taker.order.left(taker.leaves),",
        "order=taker.order,",
        tests(f"{LAWS}::test_where_batches_are_cut_does_not_show"),
    ),
    mutant(
        "a sweep counts its events from the beginning",
        MATCHING,
        "draft.offset, draft.index = sweep.offset, sweep.index",
        "draft.offset, draft.index = sweep.offset, 0",
        tests(f"{LAWS}::test_where_batches_are_cut_does_not_show"),
    ),
    mutant(
        "a plan that fails leaves its last change in the book",
        BOOK,
        "        while self._trail:\n",
        "        while len(self._trail) > 1:\n",
        tests(f"{LAWS}::test_a_plan_that_is_not_adopted_leaves_nothing_behind"),
    ),
    mutant(
        "a market trades in the batch that opens it",
        PLAN,
        "and command.market_id in draft.new_markets\n",
        "and command.market_id not in draft.new_markets\n",
        RICH,
    ),
)

MONEY: Final = (
    mutant(
        "collateral off by one",
        FUNDING,
        "payout * (max(-after, 0) - max(-before, 0))",
        "payout * (max(-after, 0) - max(1 - before, 0))",
        RICH,
    ),
    mutant(
        "a short seller pays no collateral",
        FUNDING,
        "return Money((payout - price) * (quantity - closes) - price * closes)",
        "return Money(-price * (quantity - closes) - price * closes)",
        RICH,
    ),
    mutant(
        "buying back costs as much as buying",
        FUNDING,
        "closes = min(quantity, -position) if position < 0 else 0",
        "closes = 0",
        ONE_LANE,
    ),
    mutant(
        "the poorer side keeps its remainder when both run out",
        MATCHING,
        "if taker_can <= maker_can:",
        "if taker_can < maker_can:",
        tests(f"{MODEL}::test_whose_money_ran_out_loses_the_rest"),
    ),
    mutant(
        "a fill takes what cannot be paid for",
        FUNDING,
        "closes + (cash + brought) // opening",
        "closes + (cash + brought) // opening + 1",
        ONE_LANE,
    ),
    mutant(
        "a draw counts twice",
        PURSE,
        "self.drawn.get(source, 0) + amount",
        "self.drawn.get(source, 0) + 2 * amount",
        DRAWS,
    ),
    mutant(
        "need is the net, not the deepest point",
        PURSE,
        "max(self.needs.get(lane, 0), -moved)",
        "max(0, -moved)",
        DRAWS,
    ),
    mutant(
        "need is never told",
        PURSE,
        "max(self.needs.get(lane, 0), -moved)",
        "max(self.needs.get(lane, 0), 0 * moved)",
        DRAWS,
    ),
    mutant(
        "the wallet is drawn from last",
        PURSE,
        "key=lambda lane: (lane != WALLET,",
        "key=lambda lane: (lane == WALLET,",
        tests(f"{LAWS}::test_sources_are_the_wallet_then_the_largest_then_the_lowest_lane"),
    ),
    mutant(
        "the smallest pocket is drawn from first",
        PURSE,
        "-self.pockets[lane], lane)",
        "self.pockets[lane], lane)",
        tests(f"{LAWS}::test_sources_are_the_wallet_then_the_largest_then_the_lowest_lane"),
    ),
    mutant(
        "a loser draws a quarter all the same",
        PURSE,
        "give = shortfall if self.exact_draws else max(shortfall, balance // 4)",
        "give = max(shortfall, balance // 4)",
        DRAWS,
    ),
    mutant(
        "draws are no longer generous",
        PURSE,
        "give = shortfall if self.exact_draws else max(shortfall, balance // 4)",
        "give = shortfall",
        DRAWS,
    ),
    mutant(
        "an account planned without draws draws",
        PURSE,
        "return self.total if self.draws_allowed else self.own",
        "return self.total",
        tests(f"{COMMITTER}::test_whoever_drew_too_much_draws_exactly_before_not_at_all"),
    ),
    mutant(
        "a no rests on a cached balance",
        DRAFT,
        "        if not purse.fresh:\n"
        "            self.lack.accounts.add(account_id)\n"
        "        return purse.fresh\n",
        "        return True\n",
        tests("tests/unit/domain/test_freshness.py"),
    ),
    mutant(
        "pockets are locked in any order",
        PLAN,
        "key=lambda row: (row.account, row.lane),",
        "key=lambda row: (row.lane, row.account),",
        tests(
            f"{PLANS}::test_a_batch_names_each_pocket_once_in_one_order_and_each_draw_by_its_source"
        ),
    ),
    mutant(
        "the facts leave out who draws exactly",
        "worker/wire/facts.py",
        "exact_draws=sorted(facts.exact_draws),",
        "exact_draws=[],",
        tests(f"{LAWS}::test_a_batch_is_its_records_and_its_facts"),
    ),
    mutant(
        "the facts leave out absent ids",
        "worker/wire/facts.py",
        "orders={_join(ref): answer for ref, answer in facts.orders.items()},",
        "orders={_join(ref): answer for ref, answer in facts.orders.items() if answer},",
        tests(f"{LAWS}::test_a_batch_is_its_records_and_its_facts"),
    ),
)

ANSWERS: Final = (
    mutant(
        "a duplicate order is applied",
        ORDERS,
        "    if known is not None:\n        _repeat(",
        "    if known is not None and known.first.reason:\n        _repeat(",
        RICH,
    ),
    mutant(
        "another order under a known id is a repeat",
        ORDERS,
        "    if asked != (known.side, known.price, known.quantity, known.time_in_force):\n",
        "    if asked == ():\n",
        RICH,
    ),
    mutant(
        "a refusal for want of money is not remembered",
        ORDERS,
        "elif reason in (Reason.INSUFFICIENT_FUNDS, Reason.OPEN_ORDER_LIMIT):",
        "elif reason is Reason.OPEN_ORDER_LIMIT:",
        READS_ALL,
    ),
    mutant(
        "every refusal is remembered",
        ORDERS,
        "elif reason in (Reason.INSUFFICIENT_FUNDS, Reason.OPEN_ORDER_LIMIT):",
        "elif reason:",
        RICH,
    ),
    mutant(
        "a refusal does not ask whether the id is known",
        ORDERS,
        "        _must_be_new(draft, command)\n        _reject(",
        "        _reject(",
        RICH,
    ),
    mutant(
        "markets are answered wherever they are asked for",
        ORDERS,
        "return ids.partition_of(key, home.partitions) == home.partition",
        "return bool(ids.partition_of(key, home.partitions) + home.partitions)",
        RICH,
    ),
    mutant(
        "a halted market accepts orders",
        ORDERS,
        "if market.status is not MarketStatus.OPEN:",
        "if market.status >= MarketStatus.SETTLING:",
        tests(f"{PLANS}::test_a_bug_in_the_rules_halts_the_market_and_a_cancel_still_works_there"),
    ),
    mutant(
        "a resolved market accepts orders",
        ORDERS,
        "if market.status is not MarketStatus.OPEN:",
        "if market.status is MarketStatus.HALTED:",
        RICH,
    ),
    mutant(
        "a resolved market cancels orders",
        ORDERS,
        "    if market.status >= MarketStatus.SETTLING:\n        body",
        "    if market.status > MarketStatus.SETTLED:\n        body",
        tests(f"{MODEL}::test_rich_accounts_need_no_fresh_look", f"{MODEL}::test_lanes_that_draw"),
    ),
    mutant(
        "the payout is a price",
        ORDERS,
        "if not 0 < command.price < market.payout:",
        "if not 0 < command.price <= market.payout:",
        RICH,
    ),
    mutant(
        "an account has any number of open orders",
        ORDERS,
        "open_orders(account_id) >= OPEN_ORDERS_MAX",
        "open_orders(account_id) < 0",
        tests(f"{MODEL}::test_an_account_has_a_thousand_open_orders_in_a_market"),
    ),
    mutant(
        "anybody resolves a market",
        ORDERS,
        "elif market.operator_id != command.operator_id:",
        "elif market.operator_id == ():",
        RICH,
    ),
    mutant(
        "a market is resolved again, the other way",
        ORDERS,
        "    elif market.outcome is None:\n        return False",
        "    elif market.outcome is not command.outcome:\n        return False",
        RICH,
    ),
    mutant(
        "dead letters are lost",
        PLAN,
        "    draft.entries.append(letter)\n",
        "",
        tests("tests/unit/domain/test_burial.py"),
    ),
    mutant(
        "a seq is left out after every batch",
        DRAFT,
        "state.last_seq = self.seq\n",
        "state.last_seq = self.seq + 1\n",
        RICH,
    ),
    mutant(
        "an offset is passed that was not answered",
        DRAFT,
        "self.next_offset = Offset(received.offset + 1)",
        "self.next_offset = Offset(received.offset + 2)",
        seeds(20),
    ),
    mutant(
        "lane time follows every record",
        DRAFT,
        "self.time_ms = max(self.time_ms, received.time_ms)",
        "self.time_ms = received.time_ms",
        RICH,
    ),
    mutant(
        "a market's events are numbered from each batch anew",
        DRAFT,
        "market_seq = market.market_seq + change.events",
        "market_seq = change.events",
        RICH,
    ),
    mutant(
        "what is remembered has no bound",
        DRAFT,
        "while len(cache) > CACHED_ROWS_MAX:",
        "while len(cache) < 0:",
        tests(f"{PLANS}::test_what_is_remembered_of_accounts_and_positions_is_bounded"),
    ),
)

RESOLUTION: Final = (
    mutant(
        "a sold position is paid: a market is traded and resolved in one batch",
        PLAN,
        "    if isinstance(command, ResolveMarket):\n        return False",
        "    if isinstance(command, ResolveMarket):\n        return True",
        RICH,
    ),
    mutant(
        "a page is paid twice",
        SETTLEMENT,
        "PageRequest(market.key, outcome, settlement.cursor, most)",
        "PageRequest(market.key, outcome, FIRST_CURSOR, most)",
        tests(f"{LAWS}::test_where_batches_are_cut_does_not_show"),
    ),
    mutant(
        "a market is settled after its first page",
        SETTLEMENT,
        "    if found.last:\n",
        "    if found is not None:\n",
        tests(f"{LAWS}::test_where_batches_are_cut_does_not_show"),
    ),
    mutant(
        "a winner is paid the price of one",
        SETTLEMENT,
        "amount = Money(payee.quantity * market.payout)",
        "amount = Money(market.payout)",
        RICH,
    ),
    mutant(
        "dead orders stay open",
        SETTLEMENT,
        "        draft.order_left(order.key, Quantity(0), OrderStatus.CANCELLED)\n",
        "",
        RICH,
    ),
    mutant(
        "what a settlement has paid is counted by the page",
        SETTLEMENT,
        "paid=Money(settlement.paid + paid),",
        "paid=Money(paid),",
        tests(f"{LAWS}::test_where_batches_are_cut_does_not_show"),
    ),
    mutant(
        "a parked settlement is not marked",
        PLAN,
        "replace(draft.settlements[market_id], parked=True)",
        "replace(draft.settlements[market_id], parked=False)",
        tests(f"{PLANS}::test_a_settlement_that_is_parked_stays_and_is_marked"),
    ),
    mutant(
        "a parked sweep loses its rest",
        PLAN,
        "    draft.book(sweep.market_id).add(sweep.order)\n",
        "",
        tests(f"{PLANS}::test_a_sweep_that_is_parked_rests_in_its_halted_market"),
    ),
    mutant(
        "a parked sweep leaves its market open",
        PLAN,
        "    _halt(draft, sweep.market_id)\n",
        "",
        tests(f"{PLANS}::test_a_sweep_that_is_parked_rests_in_its_halted_market"),
    ),
    mutant(
        "a parked settlement is forgotten with its owner",
        "worker/wire/resume.py",
        '"parked": settlement.parked,',
        '"parked": False,',
        tests("tests/unit/wire/test_resume.py::test_what_is_left_to_do_comes_back_as_it_went"),
    ),
)

CASH: Final = (
    mutant(
        "a duplicate deposit is paid in",
        TRANSFERS,
        "    if known is not None:\n",
        "    if known is not None and not known.deposit:\n",
        RICH,
    ),
    mutant(
        "a transfer of another amount is a repeat",
        TRANSFERS,
        " and known.amount == command.amount:",
        ":",
        tests("tests/unit/domain/test_transfers.py"),
    ),
    mutant(
        "deposits have no limit",
        TRANSFERS,
        "if draft.cash_in_net + command.amount > draft.state.home.cash_share:",
        "if draft.cash_in_net < -command.amount:",
        tests(f"{MODEL}::test_a_lane_takes_in_its_share_of_all_cash_and_no_more"),
    ),
    mutant(
        "money that left still counts against the limit",
        TRANSFERS,
        "        draft.cash_in_net -= command.amount\n",
        "",
        tests(f"{MODEL}::test_a_lane_takes_in_its_share_of_all_cash_and_no_more"),
    ),
    mutant(
        "an amount of nothing is carried out",
        TRANSFERS,
        "if not 0 < command.amount <= TRANSFER_MAX:",
        "if not 0 <= command.amount <= TRANSFER_MAX:",
        RICH,
    ),
    mutant(
        "what was gathered in vain stays where no lane can draw",
        TRANSFERS,
        "            if purse.known and purse.own:\n",
        "            if not purse.known:\n",
        tests(f"{LAWS}::test_what_was_gathered_in_vain_goes_back_to_the_wallet"),
    ),
    mutant(
        "a withdrawal takes along a quarter of the wallet",
        TRANSFERS,
        "        purse.exact_draws = True\n",
        "",
        tests(f"{LAWS}::test_draws_and_needs_are_those_of_the_design"),
    ),
    mutant(
        "money elsewhere is no money at all",
        TRANSFERS,
        "Reason.FUNDS_IN_USE if enough else Reason.INSUFFICIENT_FUNDS",
        "Reason.INSUFFICIENT_FUNDS",
        tests(f"{COMMITTER}::test_a_withdrawal_whose_money_could_not_be_gathered_is_told_so"),
    ),
)

INPUT: Final = (
    mutant(
        "unknown fields are passed over",
        COMMANDS,
        'extra="forbid"',
        'extra="ignore"',
        tests(f"{WIRE}::test_the_detail_names_the_field_and_the_rule"),
    ),
    mutant(
        "a number may be a text",
        COMMANDS,
        "ConfigDict(strict=True, ",
        "ConfigDict(strict=False, ",
        tests("tests/unit/wire/test_hostile.py"),
    ),
    mutant(
        "of a field given twice the last counts",
        COMMANDS,
        "    if len(given) == len(pairs):\n",
        "    if given is not None:\n",
        tests(f"{WIRE}::test_the_detail_names_the_field_and_the_rule"),
    ),
    mutant(
        "an id may end with a newline",
        COMMANDS,
        "_LEGAL_ID: Final = re.compile(_ID).fullmatch",
        "_LEGAL_ID: Final = re.compile(_ID).match",
        tests(f"{WIRE}::test_an_illegal_id_is_left_out_and_the_other_kept"),
    ),
    mutant(
        "keys live elsewhere than Kafka's partitioner says",
        f"{DOMAIN}/ids.py",
        "& 0x7FFFFFFF) % partitions",
        "& 0xFFFFFFFF) % partitions",
        tests(
            "tests/unit/domain/test_ids.py::test_a_key_lives_where_kafkas_default_partitioner_says"
        ),
    ),
    mutant(
        "a record's sha does not tell where a part ends",
        COMMANDS,
        'b"%d:%b" % (len(part), part)',
        "part",
        tests(f"{WIRE}::test_a_sha_tells_null_from_empty_and_knows_where_a_part_ends"),
    ),
)

MUTANTS: Final[tuple[Mutant, ...]] = (
    *TRADING,
    *MONEY,
    *ANSWERS,
    *RESOLUTION,
    *CASH,
    *INPUT,
)
