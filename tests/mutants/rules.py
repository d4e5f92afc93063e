"""Broken rules of matching, money, answers, settlement, transfers and input."""

from typing import Final

from tests.mutants.mutant import Mutant, mutant, seeds, tests

DOMAIN: Final = "worker/domain"
FILLS: Final = f"{DOMAIN}/fills.py"
MARKS: Final = f"{DOMAIN}/marks.py"
MATCHING: Final = f"{DOMAIN}/matching.py"
BOOK: Final = f"{DOMAIN}/book.py"
FUNDING: Final = f"{DOMAIN}/funding.py"
PURSE: Final = f"{DOMAIN}/purse.py"
PLAN: Final = f"{DOMAIN}/plan.py"
DRAFT: Final = f"{DOMAIN}/draft.py"
ORDERS: Final = f"{DOMAIN}/orders.py"
TRANSFERS: Final = f"{DOMAIN}/transfers.py"
SETTLEMENT: Final = f"{DOMAIN}/settlement.py"
COMMANDS: Final = "worker/wire/decode.py"

MODEL: Final = "tests/property/test_model.py"
LAWS: Final = "tests/property/test_laws.py"
TRIED: Final = "tests/unit/domain/test_marks.py"
COLLECTING: Final = "tests/unit/domain/test_collect.py"
PLANS: Final = "tests/unit/domain/test_plan.py"
COMMITTER: Final = "tests/unit/test_commit.py"
READINGS: Final = "tests/unit/test_readings.py"
WIRE: Final = "tests/unit/wire/test_decode.py"
ONE_LANE: Final = tests(f"{MODEL}::test_caching_lane_matches_the_model")
READS_ALL: Final = tests(f"{MODEL}::test_reading_lane_matches_the_model")
RICH: Final = tests(f"{MODEL}::test_rich_accounts_need_no_fresh_reading")
DRAWS: Final = tests(f"{LAWS}::test_draws_and_needs_are_those_of_the_design")

CONFLICTS: Final = (
    mutant(
        "reject an order whose id another order has",
        ORDERS,
        "    answer = Duplicate if same else IdConflict\n",
        "    if not same:\n"
        "        _reject(draft, market, command, Reason.LIMIT)\n"
        "        return\n"
        "    answer = Duplicate\n",
        ONE_LANE,
    ),
    mutant(
        "believe any first answer to a conflict",
        "worker/audit/independent.py",
        '            case "DUPLICATE" | "ID_CONFLICT":\n',
        '            case "DUPLICATE":\n',
        tests(
            "tests/unit/audit/test_invariants.py::test_wrong_first_answer_of_a_conflict_is_found"
        ),
    ),
)

TRADING: Final = (
    mutant(
        "trade at the taker's price",
        FILLS,
        "market, price, quantity = taker.market, fill.maker.price, fill.quantity",
        "market, price, quantity = taker.market, taker.order.price, fill.quantity",
        RICH,
    ),
    mutant(
        "match the newest order first",
        BOOK,
        "level.queue.append(order.seq)",
        "level.queue.insert(level.head, order.seq)",
        RICH,
    ),
    mutant(
        "match the worst price first",
        BOOK,
        "level = self._levels[side][_price(side, ranks[-1])]\n        head",
        "level = self._levels[side][_price(side, ranks[0])]\n        head",
        RICH,
    ),
    mutant(
        "lose the rest of an order",
        FILLS,
        "        book.add(order)\n",
        "",
        RICH,
    ),
    mutant(
        "rest an order with its full quantity after fills",
        FILLS,
        "book.add(order)",
        "book.add(taker.order)",
        RICH,
    ),
    mutant(
        "leave the maker's quantity unchanged by a fill",
        BOOK,
        "order.left(Quantity(order.leaves - quantity))",
        "order",
        RICH,
    ),
    mutant(
        "do not match equal prices",
        MATCHING,
        "maker.price <= price if side is _BUY else maker.price >= price",
        "maker.price < price if side is _BUY else maker.price > price",
        RICH,
    ),
    mutant(
        "let an account trade with itself",
        MATCHING,
        "if maker.account_id == order.account_id:",
        "if maker is order:",
        RICH,
    ),
    mutant(
        "rest what is left of an IOC order",
        FILLS,
        "elif taker.time_in_force is _IOC:",
        "elif taker.time_in_force is None:",
        RICH,
    ),
    mutant(
        "answer commands while a sweep waits",
        PLAN,
        "if alone or len(draft.sweeps) > sweeps:",
        "if alone:",
        tests(f"{LAWS}::test_batch_cuts_change_no_answer"),
    ),
    mutant(
        "continue a sweep with its full quantity",
        FILLS,
        "        order=order,\n",
        "        order=taker.order,\n",
        tests(f"{LAWS}::test_batch_cuts_change_no_answer"),
    ),
    mutant(
        "number the events of a continued sweep from zero",
        FILLS,
        "draft.offset, draft.index = sweep.offset, sweep.index",
        "draft.offset, draft.index = sweep.offset, 0",
        tests(f"{LAWS}::test_batch_cuts_change_no_answer"),
    ),
    mutant(
        "keep one book change of a failed plan",
        BOOK,
        "        while len(self._trail) > down_to:\n",
        "        while len(self._trail) > down_to + 1:\n",
        tests(f"{LAWS}::test_discarded_plan_leaves_no_trace"),
    ),
    mutant(
        "leave a partial fill in the total of its price",
        BOOK,
        "            self._levels[order.side][order.price].quantity -= quantity\n",
        "",
        tests(f"{LAWS}::test_books_are_uncrossed_and_show_their_depth"),
    ),
    mutant(
        "leave a removed order in the total of its price",
        BOOK,
        "        level.quantity -= order.leaves\n        if not level.live:\n"
        "            self._drop_level(order.side, level)\n        self._trail",
        "        if not level.live:\n"
        "            self._drop_level(order.side, level)\n        self._trail",
        tests(f"{LAWS}::test_books_are_uncrossed_and_show_their_depth"),
    ),
    mutant(
        "keep the quantity of an order that is taken back",
        BOOK,
        "        level.quantity -= order.leaves\n        self._forget(order)\n",
        "        self._forget(order)\n",
        tests(f"{LAWS}::test_books_are_uncrossed_and_show_their_depth"),
    ),
    mutant(
        "leave a fill that is taken back out of the total of its price",
        BOOK,
        "        level.quantity += order.leaves - self._orders[order.seq].leaves\n",
        "",
        tests(f"{LAWS}::test_books_are_uncrossed_and_show_their_depth"),
    ),
    mutant(
        "leave an order that is put back out of the total of its price",
        BOOK,
        "        level.live += 1\n        level.quantity += order.leaves\n"
        "        self._remember(order)\n\n\n_DEAD",
        "        level.live += 1\n        self._remember(order)\n\n\n_DEAD",
        tests(f"{LAWS}::test_books_are_uncrossed_and_show_their_depth"),
    ),
    mutant(
        "accept trades in the batch that opens their market",
        PLAN,
        "and command.market_id in draft.new_markets\n",
        "and command.market_id not in draft.new_markets\n",
        RICH,
    ),
)

TRIALS: Final = (
    mutant(
        "leave the trades of a trial in the book",
        MARKS,
        "        book.undo(to.changes.get(market_id, 0))\n",
        "        book.undo(book.changes)\n",
        tests(f"{LAWS}::test_rollback_leaves_no_trace"),
    ),
    mutant(
        "let a trial spend the money of the batch",
        MARKS,
        "{key: _copied(item) for key, item in value.items()}",
        "dict(value)",
        tests(f"{LAWS}::test_rollback_leaves_no_trace"),
    ),
    mutant(
        "count the rows that a trial drew",
        MARKS,
        "    draft.tally.rows = to.tallied_rows\n",
        "",
        tests(f"{TRIED}::test_trial_leaves_no_rows"),
    ),
    mutant(
        "forget what a trial lacked",
        MARKS,
        "    draft.tally.rows = to.tallied_rows\n",
        "    draft.tally.rows = to.tallied_rows\n    draft.lack = type(draft.lack)()\n",
        tests(f"{TRIED}::test_lack_of_a_trial_is_read"),
    ),
)

MONEY: Final = (
    mutant(
        "charge one payout too little collateral",
        FUNDING,
        "payout * (max(-after, 0) - max(-before, 0))",
        "payout * (max(-after, 0) - max(1 - before, 0))",
        RICH,
    ),
    mutant(
        "charge short sellers no collateral",
        FUNDING,
        "return Money((payout - price) * (quantity - closes) - price * closes)",
        "return Money(-price * (quantity - closes) - price * closes)",
        RICH,
    ),
    mutant(
        "charge for buying back as for buying",
        FUNDING,
        "closes = min(quantity, -position) if position < 0 else 0",
        "closes = 0",
        ONE_LANE,
    ),
    mutant(
        "keep the taker's remainder when both sides run out",
        MATCHING,
        "if taker_can <= maker_can:",
        "if taker_can < maker_can:",
        tests(f"{MODEL}::test_unfunded_side_loses_its_remainder"),
    ),
    mutant(
        "fill one more than the account can pay for",
        FUNDING,
        "closes + (cash + brought) // opening",
        "closes + (cash + brought) // opening + 1",
        ONE_LANE,
    ),
    mutant(
        "count a draw twice",
        PURSE,
        "self.drawn.get(source, 0) + amount",
        "self.drawn.get(source, 0) + 2 * amount",
        DRAWS,
    ),
    mutant(
        "state the net movement as need, not its lowest point",
        PURSE,
        "max(self.needs.get(lane, 0), -moved)",
        "max(0, -moved)",
        DRAWS,
    ),
    mutant(
        "state no need",
        PURSE,
        "max(self.needs.get(lane, 0), -moved)",
        "max(self.needs.get(lane, 0), 0 * moved)",
        DRAWS,
    ),
    mutant(
        "draw from the wallet last",
        PURSE,
        "key=lambda lane: (lane != WALLET,",
        "key=lambda lane: (lane == WALLET,",
        tests(f"{LAWS}::test_draws_come_from_wallet_then_largest_pocket"),
    ),
    mutant(
        "draw from the smallest pocket first",
        PURSE,
        "-pockets[lane], lane)",
        "pockets[lane], lane)",
        tests(f"{LAWS}::test_draws_come_from_wallet_then_largest_pocket"),
    ),
    mutant(
        "let a loser draw a quarter",
        PURSE,
        "give = shortfall if self.exact_draws else max(shortfall, balance // 4)",
        "give = max(shortfall, balance // 4)",
        DRAWS,
    ),
    mutant(
        "draw only the shortfall",
        PURSE,
        "give = shortfall if self.exact_draws else max(shortfall, balance // 4)",
        "give = shortfall",
        DRAWS,
    ),
    mutant(
        "let an order draw whose account's draws are stopped",
        MATCHING,
        "self.spendable: int = self.total if purse.draws_allowed else self.own",
        "self.spendable: int = self.total",
        tests(f"{COMMITTER}::test_loser_draws_exactly_before_not_at_all"),
    ),
    mutant(
        "let a withdrawal draw whose account's draws are stopped",
        PURSE,
        "return self.total if self.draws_allowed else self.own",
        "return self.total",
        tests(f"{COMMITTER}::test_ungathered_withdrawal_is_answered_with_its_reason"),
    ),
    mutant(
        "refuse on the basis of a cached balance",
        DRAFT,
        "        if not purse.fresh:\n"
        "            self.lacking().accounts.add(account_id)\n"
        "        return purse.fresh\n",
        "        return True\n",
        tests("tests/unit/domain/test_freshness.py"),
    ),
    mutant(
        "lock pockets in order of lane",
        PLAN,
        'attrgetter("account", "lane")',
        'attrgetter("lane", "account")',
        tests(f"{PLANS}::test_batch_names_pockets_once_in_lock_order"),
    ),
    mutant(
        "leave exact draws out of the facts",
        "worker/wire/facts.py",
        "exact_draws=sorted(facts.exact_draws),",
        "exact_draws=[],",
        tests(f"{LAWS}::test_batch_follows_from_its_records_and_facts"),
    ),
    mutant(
        "leave absent ids out of the facts",
        "worker/wire/facts.py",
        "orders={_join(ref): answer for ref, answer in facts.orders.items()},",
        "orders={_join(ref): answer for ref, answer in facts.orders.items() if answer},",
        tests(f"{LAWS}::test_batch_follows_from_its_records_and_facts"),
    ),
)

ANSWERS: Final = (
    mutant(
        "apply a duplicate order",
        ORDERS,
        "    if known is not None:\n        _repeat(",
        "    if known is not None and known.first.reason:\n        _repeat(",
        RICH,
    ),
    mutant(
        "take another order under a known id for a repeat",
        ORDERS,
        "    same = asked == (known.side, known.price, known.quantity, known.time_in_force)\n",
        "    same = asked != ()\n",
        RICH,
    ),
    mutant(
        "forget a rejection for insufficient funds",
        ORDERS,
        "elif reason in (Reason.INSUFFICIENT_FUNDS, Reason.OPEN_ORDER_LIMIT):",
        "elif reason is Reason.OPEN_ORDER_LIMIT:",
        READS_ALL,
    ),
    mutant(
        "remember every rejection",
        ORDERS,
        "elif reason in (Reason.INSUFFICIENT_FUNDS, Reason.OPEN_ORDER_LIMIT):",
        "elif reason:",
        RICH,
    ),
    mutant(
        "admit any number of open orders to a lane",
        ORDERS,
        "if draft.state.resting.orders >= draft.limits.open_orders:",
        "if draft.state.resting.orders < 0:",
        tests(f"{PLANS}::test_full_lane_rejects_orders_that_may_rest"),
    ),
    mutant(
        "count the orders of resolved markets as open",
        "worker/domain/state.py",
        "            self.resting.orders -= len(book)\n",
        "            pass\n",
        tests(f"{PLANS}::test_resolved_market_leaves_room_for_orders"),
    ),
    mutant(
        "count orders that left a book as open",
        BOOK,
        "        self._count.orders -= 1\n",
        "",
        tests(f"{PLANS}::test_full_lane_rejects_orders_that_may_rest"),
    ),
    mutant(
        "reject an order without looking up its id",
        ORDERS,
        "        _must_be_new(draft, command)\n        _reject(",
        "        _reject(",
        RICH,
    ),
    mutant(
        "answer for markets of other partitions",
        ORDERS,
        "return ids.partition_of(key, home.partitions) == home.partition",
        "return bool(ids.partition_of(key, home.partitions) + home.partitions)",
        RICH,
    ),
    mutant(
        "accept orders in a halted market",
        ORDERS,
        "if market.status is not _MARKET_OPEN:",
        "if market.status >= MarketStatus.SETTLING:",
        tests(f"{PLANS}::test_internal_error_halts_the_market"),
    ),
    mutant(
        "accept orders in a resolved market",
        ORDERS,
        "if market.status is not _MARKET_OPEN:",
        "if market.status is MarketStatus.HALTED:",
        RICH,
    ),
    mutant(
        "cancel orders of a resolved market",
        ORDERS,
        "    if market.status >= MarketStatus.SETTLING:\n        body",
        "    if market.status > MarketStatus.SETTLED:\n        body",
        tests(
            f"{MODEL}::test_rich_accounts_need_no_fresh_reading",
            f"{MODEL}::test_drawing_lanes_match_the_model",
        ),
    ),
    mutant(
        "accept the payout as price",
        ORDERS,
        "if not 0 < command.price < market.payout:",
        "if not 0 < command.price <= market.payout:",
        RICH,
    ),
    mutant(
        "leave the rows of positions out of a proposal",
        MATCHING,
        "            rows += ROWS_PER_POSITION\n",
        "",
        tests(f"{LAWS}::test_proposal_counts_all_rows_it_adds"),
    ),
    mutant(
        "accept any number of open orders",
        ORDERS,
        "open_orders(account_id) >= OPEN_ORDERS_PER_ACCOUNT_MAX",
        "open_orders(account_id) < 0",
        tests(f"{MODEL}::test_open_orders_per_account_are_limited"),
    ),
    mutant(
        "let any account resolve a market",
        ORDERS,
        "elif market.operator_id != command.operator_id:",
        "elif market.operator_id == ():",
        RICH,
    ),
    mutant(
        "accept a second, different resolution",
        ORDERS,
        "    elif market.outcome is None:\n        return False",
        "    elif market.outcome is not command.outcome:\n        return False",
        RICH,
    ),
    mutant(
        "lose dead letters",
        PLAN,
        "    draft.entries.append(letter)\n",
        "",
        tests("tests/unit/domain/test_burial.py"),
    ),
    mutant(
        "skip a seq after every batch",
        DRAFT,
        "state.last_seq = self.seq\n",
        "state.last_seq = self.seq + 1\n",
        RICH,
    ),
    mutant(
        "skip an unanswered offset",
        DRAFT,
        "self.next_offset = Offset(received.offset + 1)",
        "self.next_offset = Offset(received.offset + 2)",
        seeds(20),
    ),
    mutant(
        "let lane time go back with a record",
        DRAFT,
        "self.time_ms = max(self.time_ms, received.time_ms)",
        "self.time_ms = received.time_ms",
        RICH,
    ),
    mutant(
        "restart a market's event numbers in each batch",
        DRAFT,
        "market_seq = market.market_seq + change.events",
        "market_seq = change.events",
        RICH,
    ),
    mutant(
        "let the caches grow without bound",
        DRAFT,
        "while len(cache) > CACHED_ROWS_MAX:",
        "while len(cache) < 0:",
        tests(f"{PLANS}::test_cached_accounts_and_positions_are_bounded"),
    ),
)

RESOLUTION: Final = (
    mutant(
        "trade and resolve a market in one batch",
        PLAN,
        "    if _must_be_alone(draft, command):\n        return False",
        "    if _must_be_alone(draft, command):\n        return True",
        RICH,
    ),
    mutant(
        "suspend a sweep that draws from too many pockets without end",
        MATCHING,
        "if self._is_first and not self._meetings:",
        "if False:",
        tests(f"{COLLECTING}::test_fill_from_many_pockets_is_drawn_in_parts"),
    ),
    mutant(
        "collect from any number of pockets at once",
        MATCHING,
        "trader.draws(amount)[: max(0, draws_max)]",
        "trader.draws(amount)",
        tests(f"{COLLECTING}::test_fill_from_many_pockets_is_drawn_in_parts"),
    ),
    mutant(
        "withdraw from any number of pockets at once",
        TRANSFERS,
        "if len(draws) > draws_max:",
        "if draws_max < 0:",
        tests(f"{COLLECTING}::test_withdrawal_from_many_pockets_is_drawn_in_parts"),
    ),
    mutant(
        "drop the newest of the cached rows",
        DRAFT,
        "cache.popitem(last=False)",
        "cache.popitem(last=True)",
        tests(f"{PLANS}::test_cached_accounts_and_positions_are_bounded"),
    ),
    mutant(
        "give every rejected resolution a batch of its own",
        "worker/domain/orders.py",
        "market is not None and market.operator_id == command.operator_id and",
        "market is None or",
        tests("tests/unit/domain/test_turns.py::test_rejected_resolutions_share_a_batch"),
    ),
    mutant(
        "pay the first page again",
        SETTLEMENT,
        "PageRequest(market.key, outcome, settlement.cursor, most)",
        "PageRequest(market.key, outcome, FIRST_CURSOR, most)",
        tests(f"{LAWS}::test_batch_cuts_change_no_answer"),
    ),
    mutant(
        "settle a market after its first page",
        SETTLEMENT,
        "    if found.last:\n",
        "    if found is not None:\n",
        tests(f"{LAWS}::test_batch_cuts_change_no_answer"),
    ),
    mutant(
        "pay a winner for one share",
        SETTLEMENT,
        "amount = Money(payee.quantity * market.payout)",
        "amount = Money(market.payout)",
        RICH,
    ),
    mutant(
        "leave dead orders open",
        SETTLEMENT,
        "        draft.order_left(order.key, Quantity(0), OrderStatus.CANCELLED)\n",
        "",
        RICH,
    ),
    mutant(
        "report only the last page's total as paid",
        SETTLEMENT,
        "paid=Money(settlement.paid + paid),",
        "paid=Money(paid),",
        tests(f"{LAWS}::test_batch_cuts_change_no_answer"),
    ),
    mutant(
        "park a settlement without a mark",
        PLAN,
        "replace(draft.settlements[market_id], parked=True)",
        "replace(draft.settlements[market_id], parked=False)",
        tests(f"{PLANS}::test_parked_settlement_stays_and_is_marked"),
    ),
    mutant(
        "lose the rest of a parked sweep",
        PLAN,
        "    draft.book(market_id).add(sweep.order)\n",
        "",
        tests(f"{PLANS}::test_parked_sweep_rests_in_its_halted_market"),
    ),
    mutant(
        "leave the market of a parked sweep open",
        PLAN,
        "    _halt(draft, market_id)\n",
        "",
        tests(f"{PLANS}::test_parked_sweep_rests_in_its_halted_market"),
    ),
    mutant(
        "forget the sweep that a lane had before rules 4",
        "worker/wire/resume.py",
        'only = [value["sweep"]] if "sweep" in value else ()',
        "only = ()",
        tests("tests/unit/wire/test_resume.py::test_single_sweep_of_earlier_rules_is_read"),
    ),
    mutant(
        "forget at a take-over that a settlement is parked",
        "worker/wire/resume.py",
        '"parked": settlement.parked,',
        '"parked": False,',
        tests("tests/unit/wire/test_resume.py::test_resume_text_round_trips"),
    ),
)

CASH: Final = (
    mutant(
        "credit a duplicate deposit",
        TRANSFERS,
        "    if known is not None:\n",
        "    if known is not None and not known.deposit:\n",
        RICH,
    ),
    mutant(
        "take a transfer of another amount for a repeat",
        TRANSFERS,
        " and known.amount == command.amount\n",
        "\n",
        tests("tests/unit/domain/test_transfers.py"),
    ),
    mutant(
        "accept deposits without a limit",
        TRANSFERS,
        "if draft.cash_in_net + command.amount > draft.state.home.cash_share:",
        "if draft.cash_in_net < -command.amount:",
        tests(f"{MODEL}::test_deposits_beyond_the_cash_share_are_refused"),
    ),
    mutant(
        "count withdrawn money against the deposit limit",
        TRANSFERS,
        "        draft.cash_in_net -= command.amount\n",
        "",
        tests(f"{MODEL}::test_deposits_beyond_the_cash_share_are_refused"),
    ),
    mutant(
        "accept a transfer of zero",
        TRANSFERS,
        "if not 0 < command.amount <= TRANSFER_MAX:",
        "if not 0 <= command.amount <= TRANSFER_MAX:",
        RICH,
    ),
    mutant(
        "leave money gathered in vain in the transfers lane",
        TRANSFERS,
        "            if purse.known and purse.own:\n",
        "            if not purse.known:\n",
        tests(f"{LAWS}::test_refused_withdrawal_returns_gathered_cash"),
    ),
    mutant(
        "draw a quarter of the wallet for a withdrawal",
        TRANSFERS,
        "        purse.exact_draws = True\n",
        "",
        tests(f"{LAWS}::test_draws_and_needs_are_those_of_the_design"),
    ),
    mutant(
        "report funds in use as insufficient funds",
        TRANSFERS,
        "Reason.FUNDS_IN_USE if enough else Reason.INSUFFICIENT_FUNDS",
        "Reason.INSUFFICIENT_FUNDS",
        tests(f"{COMMITTER}::test_ungathered_withdrawal_is_answered_with_its_reason"),
    ),
)

INPUT: Final = (
    mutant(
        "ignore unknown fields",
        COMMANDS,
        'extra="forbid"',
        'extra="ignore"',
        tests(f"{WIRE}::test_detail_names_field_and_rule"),
    ),
    mutant(
        "accept text as a number",
        COMMANDS,
        "ConfigDict(strict=True, ",
        "ConfigDict(strict=False, ",
        tests("tests/unit/wire/test_hostile.py"),
    ),
    mutant(
        "accept a field given twice",
        COMMANDS,
        "    if len(given) == len(pairs):\n",
        "    if given is not None:\n",
        tests(f"{WIRE}::test_detail_names_field_and_rule"),
    ),
    mutant(
        "accept an id that ends with a newline",
        COMMANDS,
        "is_id: Final = re.compile(ID_PATTERN).fullmatch",
        "is_id: Final = re.compile(ID_PATTERN).match",
        tests(f"{WIRE}::test_illegal_id_is_left_out"),
    ),
    mutant(
        "hash keys differently from Kafka's partitioner",
        "producers/language.py",
        "& 0x7FFFFFFF) % partitions",
        "& 0xFFFFFFFF) % partitions",
        tests(
            "tests/unit/domain/test_ids.py::test_partition_is_that_of_kafkas_default_partitioner"
        ),
    ),
    mutant(
        "leave the lengths of the parts out of a record's hash",
        COMMANDS,
        'b"%d:%b" % (len(part), part)',
        "part",
        tests(f"{WIRE}::test_sha_separates_parts_and_null_from_empty"),
    ),
)

READ_FOR: Final = (
    mutant(
        "read makers without money one at a time",
        MATCHING,
        "NAMED_AHEAD_PER_UNFUNDED * (draft.unfunded + self._unfunded)",
        "0",
        tests(f"{READINGS}::test_penniless_makers_are_read_in_few_readings"),
    ),
    mutant(
        "let every taker name makers ahead independently",
        MATCHING,
        "                draft.lack.ahead += 1\n",
        "",
        tests(f"{PLANS}::test_takers_share_the_makers_named_ahead"),
    ),
    mutant(
        "let a sweep meet more makers than its limit",
        MATCHING,
        "self._makers >= self._makers_left or self._fills_left <= 0",
        "self._fills_left <= 0",
        tests(f"{READINGS}::test_a_plan_that_keeps_asking_is_cut"),
    ),
    mutant(
        "count a meeting as done before it lacks facts",
        MATCHING,
        "draft.lack.makers = draft.makers + self._makers",
        "draft.lack.makers = draft.makers + self._makers + 1",
        tests(f"{PLANS}::test_cut_sweep_stops_before_an_unread_maker"),
    ),
    mutant(
        "keep the command that lacks facts in a cut plan",
        PLAN,
        "        return replace(limits, commands=lack.commands)\n",
        "        return replace(limits, commands=lack.commands + 1)\n",
        tests(f"{LAWS}::test_batch_follows_from_its_records_and_facts"),
    ),
    mutant(
        "cut a sweep to no makers",
        PLAN,
        "makers=max(1, lack.makers)",
        "makers=lack.makers",
        tests(f"{PLANS}::test_cut_sweep_meets_at_least_one_maker"),
    ),
)

MUTANTS: Final[tuple[Mutant, ...]] = (
    *CONFLICTS,
    *TRADING,
    *READ_FOR,
    *TRIALS,
    *MONEY,
    *ANSWERS,
    *RESOLUTION,
    *CASH,
    *INPUT,
)
