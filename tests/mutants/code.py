"""Broken publishing, take-overs and database connections."""

from typing import Final

from tests.mutants.mutant import Mutant, contract, mutant, seeds, tests

TARGET: Final = "worker/adapters/postgres/target.py"
LANE: Final = "worker/lane.py"
INTAKE: Final = "worker/intake.py"
TURNS: Final = "worker/domain/turns.py"
TURN_TESTS: Final = "tests/unit/domain/test_turns.py"
TAKEOVER: Final = "worker/takeover.py"
PUBLISHER: Final = "worker/publisher.py"
ASSIGNMENT: Final = "worker/assignment.py"
STORE: Final = "worker/adapters/postgres/store.py"
STEPS: Final = "worker/adapters/postgres/steps.py"
PARAMETERS: Final = "worker/adapters/postgres/parameters.py"
DIGEST: Final = "worker/domain/digest.py"
RULES: Final = "tests/unit/test_rules.py"
LAWS: Final = "tests/property/test_laws.py"
OUTCOMES: Final = "worker/adapters/postgres/outcomes.py"
ON_POSTGRES: Final = "tests/integration/test_store.py"
STARTING: Final = "tests/unit/test_take_over.py"
ONE_LANE: Final = "tests/unit/test_lane.py"
TOPIC: Final = "tests/unit/test_publisher.py"

PUBLISHING: Final = (
    mutant(
        "skip a batch whose publish failed",
        PUBLISHER,
        "            self._metrics.publish_failed()\n",
        "            self._metrics.publish_failed()\n"
        "            if self._waiting:\n"
        "                self.published_batch_no = self._waiting.popleft().batch_no\n",
        seeds(20),
    ),
    mutant(
        "count a batch as published before its acknowledgement",
        PUBLISHER,
        "        if records:\n",
        "        self.published_batch_no = self._waiting[taken - 1].batch_no\n"
        "        if records:\n",
        tests(f"{TOPIC}::test_unacknowledged_batch_is_not_published"),
    ),
    mutant(
        "send any number of bytes at once",
        PUBLISHER,
        " or size >= BYTES_PER_SEND",
        "",
        tests(f"{TOPIC}::test_sends_are_bounded_in_bytes"),
    ),
    mutant(
        "publish only the first three records of a batch",
        PUBLISHER,
        "self._missing(journal.decode(row.events, self._route))",
        "self._missing(journal.decode(row.events, self._route)[:3])",
        seeds(20),
    ),
    mutant(
        "never publish what the last owner left unpublished",
        TAKEOVER,
        "first = await self._first_unpublished(row)",
        "first = row.batch_no + 1",
        seeds(40),
    ),
    mutant(
        "publish only the first page of the last owner's journal",
        TAKEOVER,
        "            first += JOURNAL_ROWS_MAX\n",
        "            break\n",
        seeds(60),
    ),
    mutant(
        "publish the last event in the topic again",
        PUBLISHER,
        "self._seq(r) > there_seq]",
        "self._seq(r) >= there_seq]",
        tests(f"{TOPIC}::test_events_in_topic_are_not_repeated"),
    ),
    mutant(
        "take an event after a gap as proof of all before it",
        PUBLISHER,
        "if seq == reached + 1 or not (reached or whole):",
        "if seq > reached:",
        tests(f"{TOPIC}::test_events_after_gap_are_published_again"),
    ),
    mutant(
        "lose dead letters older than the last event in the topic",
        PUBLISHER,
        "if r.topic != events_topic or self._seq(r) > there_seq]",
        "if self._seq(r) > there_seq]",
        tests(f"{TOPIC}::test_events_in_topic_are_not_repeated"),
    ),
    mutant(
        "leave callers waiting for a publisher that has ended",
        PUBLISHER,
        "self._ended_by = error",
        "self._failed = True",
        tests(f"{TOPIC}::test_recreated_topic_ends_publisher_and_put"),
    ),
    mutant(
        "accept batches into a full publisher queue",
        PUBLISHER,
        "lambda: not self.full or self._ended_by is not None)",
        "lambda: True)",
        tests(f"{TOPIC}::test_put_waits_while_queue_is_full"),
    ),
)

TAKING_OVER: Final = (
    mutant(
        "forget the sweep or settlement begun by the last owner",
        TAKEOVER,
        "resume_text.decode(row.resume)",
        'resume_text.decode("")',
        seeds(60, first=30),
    ),
    mutant(
        "load a sweeping order into the book as well",
        TAKEOVER,
        "for _, order in entries if order.key not in sweeping)",
        "for _, order in entries)",
        seeds(60, first=40),
    ),
    mutant(
        "search the whole journal in one turn",
        TAKEOVER,
        "                await self.system.turn()\n",
        "",
        tests(f"{STARTING}::test_search_of_the_journal_takes_turns"),
    ),
    mutant(
        "let the garbage collector search all loaded orders",
        LANE,
        "        self._owner.loaded()\n",
        "",
        tests(f"{STARTING}::test_loaded_objects_leave_the_garbage_collector"),
    ),
    mutant(
        "keep loaded objects in the garbage collector",
        "worker/app.py",
        "    gc.freeze()\n",
        "",
        tests(f"{STARTING}::test_loaded_objects_leave_the_garbage_collector"),
    ),
    mutant(
        "decode any number of bytes at once",
        INTAKE,
        "if decoded >= BYTES_PER_TAKE:",
        "if decoded < 0:",
        tests(f"{ONE_LANE}::test_costly_records_are_decoded_in_turns"),
    ),
    mutant(
        "load one market without a turn for others",
        TAKEOVER,
        "if number % ORDERS_PER_TURN == 0:",
        "if number < 0:",
        tests(f"{STARTING}::test_loading_lets_others_run"),
    ),
    mutant(
        "load open orders in order of key",
        TAKEOVER,
        "merge(*runs, key=_by_seq)",
        "sum(runs, [])",
        tests(f"{STARTING}::test_orders_of_many_pages_load_in_priority"),
    ),
    mutant(
        "load only the last page of a market",
        TAKEOVER,
        "if market is not None and market_id != market:",
        "if market is not None:",
        tests(f"{STARTING}::test_orders_of_many_pages_load_in_priority"),
    ),
    mutant(
        "accept records before the lane is ready",
        LANE,
        "        if self.status is not LaneStatus.READY:\n            return\n        try:",
        "        try:",
        tests(f"{ONE_LANE}::test_records_before_ready_are_dropped"),
    ),
    mutant(
        "end the lane on a cancelled look",
        "worker/views.py",
        "            if seen.done():\n                return\n",
        "",
        tests(f"{ONE_LANE}::test_cancelled_look_is_skipped"),
    ),
    mutant(
        "answer records below the cursor again",
        INTAKE,
        "elif record.offset >= self._expected:",
        "else:",
        tests(f"{ONE_LANE}::test_answered_records_are_not_taken_again"),
    ),
    mutant(
        "accept any record before the cursor",
        INTAKE,
        "if record_sha(record.key, record.value, record.headers) != self._unchecked_sha:",
        'if self._unchecked_sha == "":',
        tests(f"{ONE_LANE}::test_other_record_before_cursor_halts_lane"),
    ),
    mutant(
        "accept a cursor outside of the topic",
        INTAKE,
        "if not first <= min(waiting, default=row.next_offset) or not row.next_offset <= end:",
        "if end < 0:",
        tests(f"{ONE_LANE}::test_cursor_outside_topic_halts_lane"),
    ),
    mutant(
        "go on with a database older than the topic",
        TAKEOVER,
        "seen_seq > row.last_seq:",
        "seen_seq < 0:",
        tests(f"{ONE_LANE}::test_database_older_than_topic_halts_lane"),
    ),
    mutant(
        "begin one record after the cursor",
        INTAKE,
        "self._expected = row.next_offset\n",
        "self._expected = row.next_offset + 1\n",
        seeds(20),
    ),
    mutant(
        "plan pages of a parked settlement",
        TURNS,
        "        if not settlement.parked\n",
        "",
        tests(f"{ONE_LANE}::test_parked_settlement_gets_no_page"),
    ),
    mutant(
        "plan pages only when no commands wait",
        TURNS,
        "if self._answered_last or not answers.commands:",
        "if not answers.commands:",
        tests(f"{ONE_LANE}::test_pages_take_turns_with_answers"),
    ),
    mutant(
        "answer commands of a market that is swept",
        TURNS,
        "swept = {unfinished.market_id for unfinished in state.sweeps} - {sweep}\n",
        "swept: set[MarketId] = set()\n",
        tests(f"{TURN_TESTS}::test_commands_of_busy_market_keep_their_order"),
    ),
    mutant(
        "resolve a market before its waiting orders are answered",
        TURNS,
        "            busy.add(_market_of(command))\n",
        "            pass\n",
        tests(f"{TURN_TESTS}::test_resolution_follows_the_orders_before_it"),
    ),
    mutant(
        "let any number of commands wait",
        TURNS,
        "elif is_new and len(held) > room:",
        "elif is_new and room < -1:",
        tests(f"{TURN_TESTS}::test_full_waiting_room_stops_answers_before_resolution"),
    ),
    mutant(
        "let every answer wait for a resolution",
        TURNS,
        "elif market_id in busy or _resolves(state, received):",
        "elif market_id in busy:",
        tests(f"{TURN_TESTS}::test_resolution_is_alone_and_lets_others_pass"),
    ),
    mutant(
        "begin any number of settlements",
        TURNS,
        "if len(work) < SETTLEMENTS_MAX:",
        "if work is not None:",
        tests(f"{TURN_TESTS}::test_full_settlements_hold_up_resolutions_only"),
    ),
    mutant(
        "leave waiting commands out of the lag",
        "worker/lane.py",
        " + len(self.state.waiting))",
        ")",
        tests("tests/unit/test_lane.py::test_waiting_records_count_as_lag"),
    ),
    mutant(
        "let the losses of a lane add up over months",
        "worker/assignment.py",
        "failures = 1 if lasted_s > GOOD_S else failures + 1\n"
        '                log.warning("lane_lost"',
        'failures = failures + 1\n                log.warning("lane_lost"',
        tests("tests/unit/test_assignment.py::test_lane_lost_rarely_pauses_briefly"),
    ),
    mutant(
        "go on with the first sweep only",
        TURNS,
        "self._last_market = min(later or work)",
        "self._last_market = min(work)",
        tests(f"{TURN_TESTS}::test_sweeps_of_several_markets_take_turns"),
    ),
    mutant(
        "let a full waiting room stop the lane",
        TURNS,
        "if market_id in swept and is_new and len(held) >= room:",
        "if market_id in swept and is_new and len(held) > room + 1:",
        tests(f"{TURN_TESTS}::test_full_waiting_room_refuses_commands_of_swept_market"),
    ),
    mutant(
        "pass waiting commands for good when a swept market refuses one",
        TURNS,
        "            passed = len(held)\n            commands.append(received)\n        elif",
        "            commands.append(received)\n        elif",
        tests(f"{TURN_TESTS}::test_refused_command_lets_cursor_pass_those_that_wait"),
    ),
    mutant(
        "refuse commands that wait already",
        TURNS,
        "if market_id in swept and is_new and",
        "if market_id in swept and",
        tests(f"{TURN_TESTS}::test_full_waiting_room_refuses_commands_of_swept_market"),
    ),
    mutant(
        "stop the heir of a waiting room with more commands than may wait",
        TURNS,
        "return max(0, WAITING_MAX - len(state.waiting))",
        "return WAITING_MAX - len(state.waiting)",
        tests(f"{TURN_TESTS}::test_heir_of_a_fuller_waiting_room_answers_others"),
    ),
    mutant(
        "never free the room of answered commands in a batch",
        INTAKE,
        "        self._taken_bytes -= size\n",
        "",
        tests(f"{ONE_LANE}::test_batch_is_bounded_by_bytes"),
    ),
    mutant(
        "count commands that wait again after a take-over",
        INTAKE,
        "size = 0 if received.offset in self._waiting else _kept_bytes(record, received)",
        "size = _kept_bytes(record, received)",
        tests(f"{ONE_LANE}::test_heir_reads_waiting_records_again"),
    ),
    mutant(
        "count records that wait and are not read yet",
        INTAKE,
        " - len(self._waiting) + len(self._missing)",
        " - len(self._waiting)",
        tests(f"{ONE_LANE}::test_heir_reads_waiting_records_again"),
    ),
    mutant(
        "place an order in the middle of a sweep",
        "worker/domain/orders.py",
        "    if command.market_id in draft.sweeps:\n        return Reason.MARKET_BUSY\n",
        "",
        tests(f"{TURN_TESTS}::test_full_waiting_room_refuses_commands_of_swept_market"),
    ),
    mutant(
        "cancel an order that a sweep is about to meet",
        "worker/domain/orders.py",
        "    if command.market_id in draft.sweeps:\n        # The sweep",
        "    if False:\n        # The sweep",
        tests(f"{TURN_TESTS}::test_full_waiting_room_refuses_commands_of_swept_market"),
    ),
    mutant(
        "resolve a market in the middle of a sweep",
        "worker/domain/orders.py",
        "elif command.market_id in draft.sweeps:",
        "elif False:",
        tests(f"{TURN_TESTS}::test_full_waiting_room_refuses_commands_of_swept_market"),
    ),
    mutant(
        "count commands that wait as part of the queue",
        INTAKE,
        "return self.backlog - len(self._waiting) + len(self._missing)",
        "return self.backlog",
        tests(f"{ONE_LANE}::test_commands_that_wait_leave_the_queue_its_room"),
    ),
    mutant(
        "count the bytes of commands that wait as part of the queue",
        INTAKE,
        "= [0] * len(kept)",
        "= [self._taken_sizes[at] for at in kept]",
        tests(f"{ONE_LANE}::test_commands_that_wait_leave_the_queue_its_room"),
    ),
    mutant(
        "see no further than one batch during a sweep",
        LANE,
        "self._intake.take(WAITING_MAX if state.sweeps else 0)",
        "self._intake.take()",
        tests(f"{ONE_LANE}::test_lane_sees_past_a_batch_of_held_commands"),
    ),
    mutant(
        "begin any number of sweeps",
        "worker/domain/orders.py",
        "if proposal.end is _SUSPENDED and len(draft.sweeps) >= SWEEPS_MAX:",
        "if False:",
        tests(f"{TURN_TESTS}::test_sweep_beyond_the_limit_is_rejected"),
    ),
    mutant(
        "reject a sweep that a batch of its own could finish",
        "worker/domain/orders.py",
        "    if draft.answered or draft.entries:\n        draft.cut = True",
        "    if not draft.next_offset:\n        draft.cut = True",
        tests(f"{TURN_TESTS}::test_sweep_beyond_the_limit_is_rejected"),
    ),
    mutant(
        "forget at a take-over which commands wait",
        INTAKE,
        "self._waiting, self._missing = waiting, set(waiting)",
        "self._waiting, self._missing = waiting, set()",
        tests(f"{ONE_LANE}::test_heir_reads_waiting_records_again"),
    ),
    mutant(
        "begin to read after the records that wait",
        INTAKE,
        "source.seek(min(row.next_offset - again, *waiting, row.next_offset))",
        "source.seek(row.next_offset - again)",
        tests(f"{ONE_LANE}::test_heir_reads_waiting_records_again"),
    ),
    mutant(
        "go on without a record that waits",
        INTAKE,
        "        if self._missing:\n",
        "        if len(self._missing) < 0:\n",
        tests(f"{ONE_LANE}::test_lane_halts_if_waiting_record_is_gone"),
    ),
    mutant(
        "forget which offsets a batch answered",
        "worker/domain/plan.py",
        "if self.draft.waiting == self.draft.state.waiting or not isinstance(",
        "if self.draft.waiting is not None or not isinstance(",
        tests(f"{TURN_TESTS}::test_order_elsewhere_waits_two_batches"),
    ),
    mutant(
        "keep a revoked lane running",
        ASSIGNMENT,
        "            lane.stop()\n",
        "            pass\n",
        seeds(60, first=40),
    ),
    mutant(
        "never take over a lost lane again",
        ASSIGNMENT,
        "        while self._tasks.get(partition) is asyncio.current_task():\n",
        "        if self._tasks.get(partition) is asyncio.current_task():\n",
        seeds(20),
    ),
)

CONNECTIONS: Final = (
    mutant(
        "keep the connection of a cancelled commit",
        STORE,
        "except (asyncio.CancelledError, OutcomeUnknown):\n            self._drop()",
        "except (asyncio.CancelledError, OutcomeUnknown):",
        tests(f"{ON_POSTGRES}::test_cancelled_commit_closes_its_connection"),
    ),
    mutant(
        "open connections to a DSQL cluster without waiting for a turn",
        TARGET,
        "        await self._turns.take()\n",
        "",
        tests(
            "tests/integration/test_dsql_connection.py::test_every_connection_waits_for_its_turn"
        ),
    ),
    mutant(
        "send a worker's token for the admin role",
        TARGET,
        "admin=address.role == ADMIN_ROLE",
        "admin=False",
        tests("tests/integration/test_iam_tokens.py::test_admin_role_gets_the_admin_token"),
    ),
    mutant(
        "treat a missing privilege as the command's fault",
        OUTCOMES,
        "    **dict.fromkeys(_MISCONFIGURED_CLASSES, Misconfigured),\n",
        "",
        tests("tests/unit/test_outcomes.py::test_code_decides_the_meaning"),
    ),
    mutant(
        "treat a lost connection as a refusal",
        OUTCOMES,
        '("", "08", "25", "40", "53", "57", "58", "XX")',
        '("25", "40", "53", "58", "XX")',
        tests(f"{ON_POSTGRES}::test_connection_lost_during_commit_is_outcome_unknown"),
    ),
    mutant(
        "treat a read-only server's refusal as a verdict",
        OUTCOMES,
        '("", "08", "25", "40",',
        '("", "08", "40",',
        tests(f"{ON_POSTGRES}::test_read_only_server_is_outcome_unknown"),
    ),
    mutant(
        "treat a lock timeout as an unknown outcome",
        OUTCOMES,
        'frozenset({"40001", "40P01", "55P03"})',
        'frozenset({"40001", "40P01"})',
        tests(f"{ON_POSTGRES}::test_lock_held_too_long_is_a_conflict"),
    ),
    mutant(
        "treat a serialization failure as an unknown outcome",
        OUTCOMES,
        'frozenset({"40001", "40P01", "55P03"})',
        'frozenset({"40P01", "55P03"})',
        tests(f"{ON_POSTGRES}::test_second_draw_from_a_wallet_loses"),
    ),
    mutant(
        "treat every violated constraint as poison",
        OUTCOMES,
        'if sqlstate.startswith("23"):',
        'if sqlstate.startswith("23") and error is None:',
        contract("test_taken_order_id_is_refused_by_its_key"),
    ),
    mutant(
        "accept isolation below repeatable read",
        "worker/adapters/postgres/connect.py",
        'if isolation != "repeatable read":',
        "if not isolation:",
        tests(f"{ON_POSTGRES}::test_a_weaker_isolation_is_not_accepted"),
    ),
    mutant(
        "take a COMMIT that answers ROLLBACK as committed",
        STEPS,
        'if tag != "COMMIT":',
        "if not tag:",
        tests("tests/integration/test_steps.py::test_commit_answered_rollback_is_a_conflict"),
    ),
    mutant(
        "leave the transaction of failed steps open",
        STEPS,
        '        await connection.execute("ROLLBACK")\n',
        "",
        contract("test_a_statement_is_committed_once", "postgres_in_steps"),
    ),
    mutant(
        "include the owner in the plan's hash",
        PARAMETERS,
        "plan_digest(batch, seal.events, seal.plan_facts)",
        "plan_digest(batch, seal.events + seal.owner, seal.plan_facts)",
        contract("test_plan_hash_is_the_same_for_every_owner"),
    ),
    mutant(
        "give all plans the same hash",
        DIGEST,
        "    return digest.hexdigest()",
        '    return sha256(b"").hexdigest()',
        contract("test_first_of_two_plans_wins"),
    ),
    mutant(
        "leave the answers out of the plan's hash",
        DIGEST,
        'f"{answers}\\n{facts}"',
        "facts",
        tests(f"{RULES}::test_every_field_of_every_row_changes_the_digest"),
    ),
    mutant(
        "leave the facts out of the plan's hash",
        DIGEST,
        'f"{answers}\\n{facts}"',
        "answers",
        tests(f"{RULES}::test_every_field_of_every_row_changes_the_digest"),
    ),
    mutant(
        "store batches with other rules than they were planned by",
        PARAMETERS,
        "lambda _batch, _seal: RULES",
        "lambda _batch, _seal: RULES - 1",
        tests(f"{RULES}::test_every_batch_is_stored_with_the_rules"),
    ),
    mutant(
        "plan batches of other rules again",
        "worker/audit/replay.py",
        "if stored.rules != RULES:",
        "if stored.rules > RULES:",
        tests(f"{LAWS}::test_replay_leaves_batches_of_other_rules_alone"),
    ),
    mutant(
        "restore a state without its sweep",
        "worker/audit/restore.py",
        "state.sweeps = tuple(sweep for sweep in sweeps if sweep is not None)",
        "all(sweeps)",
        tests(f"{RULES}::test_state_between_recorded_batches_is_restored"),
    ),
    mutant(
        "restore a state without its parked steps",
        "worker/audit/restore.py",
        "        if isinstance(step, Park):\n",
        "        if step is None and isinstance(step, Park):\n",
        tests(f"{RULES}::test_state_between_recorded_batches_is_restored"),
    ),
    mutant(
        "restore a state without halts by errors",
        "worker/audit/restore.py",
        "        restoring.halt(facts, lane, batch)\n",
        "",
        tests(f"{RULES}::test_state_between_recorded_batches_is_restored"),
    ),
    mutant(
        "answer a recorded input differently under the same rules",
        "worker/domain/orders.py",
        "return Reason.BAD_QTY",
        "return Reason.BAD_PRICE",
        tests(f"{RULES}::test_recorded_inputs_are_answered_as_recorded"),
    ),
)

MUTANTS: Final[tuple[Mutant, ...]] = (
    *PUBLISHING,
    *TAKING_OVER,
    *CONNECTIONS,
)
