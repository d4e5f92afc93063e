"""Broken machinery: what a lane does with what came back, publishing, taking over, connections."""

from typing import Final

from tests.mutants.mutant import Edit, Mutant, contract, mutant, seeds, tests

COMMIT: Final = "worker/commit.py"
TARGET: Final = "worker/adapters/postgres/target.py"
LANE: Final = "worker/lane.py"
PUBLISHER: Final = "worker/publisher.py"
ASSIGNMENT: Final = "worker/assignment.py"
STORE: Final = "worker/adapters/postgres/store.py"
STEPS: Final = "worker/adapters/postgres/steps.py"
ROWS: Final = "worker/adapters/postgres/rows.py"
OUTCOMES: Final = "worker/adapters/postgres/outcomes.py"
UNFIT: Final = "tests/integration/test_unfit.py"
ON_POSTGRES: Final = "tests/integration/test_store.py"
ONE_LANE: Final = "tests/unit/test_lane.py"
TOPIC: Final = "tests/unit/test_publisher.py"
PUBLISHED: Final = "tests/unit/test_publishing.py"
COMMITTER: Final = "tests/unit/test_commit.py"

CAME_BACK: Final = (
    mutant(
        "a database that never commits is asked all the time",
        COMMIT,
        "                attempt.tries += 1\n                await self._back_off(attempt.tries)",
        "                attempt.tries += 1\n                await self._back_off(unknowns)",
        tests(
            f"{COMMITTER}::test_a_database_that_answers_and_never_commits_is_asked_ever_less_often"
        ),
    ),
    mutant(
        "a lane's refusals are forgotten with it",
        ASSIGNMENT,
        "_Partition(consumer, partition), refusals)",
        "_Partition(consumer, partition), Refusals())",
        tests(f"{UNFIT}::test_a_table_that_is_missing_at_the_take_over_is_waited_for_and_told"),
    ),
    Mutant(
        "look first on an unknown outcome",
        (
            Edit(
                COMMIT,
                """                if isinstance(error, Refused):
                    return""",
                """                if isinstance(error, OutcomeUnknown):
                    found = await self._until_answered(
                        lambda: self.store.standing(statement.lane, batch.batch_no)
                    )
                    if found.plan_hash is None:
                        batch.discard()
                    return found.plan_hash is not None
                if isinstance(error, Refused):
                    return""",
            ),
        ),
        tests(
            f"{COMMITTER}::test_an_unknown_outcome_is_met_by_the_same_statement_and_never_by_a_look"
        ),
    ),
    mutant(
        "what was read for a whole batch weighs on its half",
        COMMIT,
        "            halts=kept.halts,\n        )\n",
        "            halts=kept.halts,\n        ).and_read(kept)\n",
        tests(f"{COMMITTER}::test_what_is_larger_than_may_be_sent_is_halved_until_it_fits"),
    ),
    mutant(
        "adopt without the plan's hash",
        COMMIT,
        "if (standing.batch_no, standing.plan_hash) == (batch.batch_no, statement.plan_hash):",
        "if standing.batch_no == batch.batch_no:",
        tests(f"{COMMITTER}::test_a_lane_that_went_on_without_us_is_loaded_again"),
    ),
    mutant(
        "adopt nothing that an earlier attempt committed",
        COMMIT,
        "if (standing.batch_no, standing.plan_hash) == (batch.batch_no, statement.plan_hash):",
        "if (standing.batch_no, standing.plan_hash) == (batch.batch_no, None):",
        tests(f"{COMMITTER}::test_a_batch_that_an_earlier_attempt_committed_is_adopted"),
    ),
    Mutant(
        "adopt before the commit",
        (
            Edit(
                COMMIT,
                "statement, row = self._seal(attempt, batch)\n",
                "statement, row = self._seal(attempt, batch)\n            batch.adopt()\n",
            ),
            Edit(
                COMMIT,
                "                batch.adopt()\n                self.refusals",
                "                self.refusals",
            ),
        ),
        seeds(20),
    ),
    mutant(
        "a fenced owner goes on",
        COMMIT,
        "if standing.epoch != self.epoch:",
        "if standing.epoch < self.epoch:",
        tests(f"{COMMITTER}::test_an_owner_of_the_past_drops_everything"),
    ),
    mutant(
        "a lane that went on without us is not read again",
        COMMIT,
        "if standing.batch_no != self.state.batch_no:",
        "if standing.batch_no < self.state.batch_no:",
        tests(f"{COMMITTER}::test_a_lane_that_went_on_without_us_is_loaded_again"),
    ),
    mutant(
        "pockets that were missed are no lost race",
        COMMIT,
        'if error.constraint == "batches_pockets_missed":',
        'if error.constraint == "pockets_balance":',
        tests(f"{COMMITTER}::test_whoever_drew_too_much_draws_exactly_before_not_at_all"),
    ),
    mutant(
        "known ids are not looked up when the key refuses",
        COMMIT,
        "attempt.facts = attempt.facts.and_read(await self._read(_everything_named(batch)))\n"
        "        return False",
        "return False",
        tests(f"{COMMITTER}::test_an_order_id_that_is_taken_is_looked_up_and_answered_as_a_repeat"),
    ),
    mutant(
        "only new ids are looked up, not those of transfers",
        COMMIT,
        "transfers={row.ref for row in draft.transfers.values()},\n    )",
        "transfers=set(),\n    )",
        tests(
            f"{COMMITTER}::test_a_transfer_id_that_is_taken_is_looked_up_and_answered_as_a_repeat"
        ),
    ),
    mutant(
        "the same refused plan is sent for ever",
        COMMIT,
        "if attempt.refused == statement.rows:",
        "if attempt.refused == ():",
        tests(f"{COMMITTER}::test_what_the_database_refuses_is_bisected_and_answered"),
    ),
    mutant(
        "what the database refuses is refused again by itself",
        COMMIT,
        "            self._reject_internally(attempt, step, halt=False)",
        "            self._park(attempt)",
        tests(f"{COMMITTER}::test_what_the_database_refuses_is_bisected_and_answered"),
    ),
    mutant(
        "a bug in the rules halts nothing",
        COMMIT,
        "Answer(step.commands[at:]), halt=True)",
        "Answer(step.commands[at:]), halt=False)",
        tests(f"{COMMITTER}::test_a_bug_in_the_rules_halts_its_market_and_the_lane_goes_on"),
    ),
)

RACES: Final = (
    mutant(
        "a conflict is retried without a new reading",
        COMMIT,
        "read = await self._read(Lack(accounts=set(purses)))",
        "read = Facts()",
        tests(f"{COMMITTER}::test_a_lost_race_reads_the_pockets_again"),
    ),
    mutant(
        "the first lost race halves the batch",
        COMMIT,
        "halved = attempt.lost_races > 1 and self._halve(attempt, batch)",
        "halved = self._halve(attempt, batch)",
        tests(f"{COMMITTER}::test_what_lost_a_race_is_planned_anew_and_the_second_time_half_of_it"),
    ),
    mutant(
        "lost races never halve the batch",
        COMMIT,
        "halved = attempt.lost_races > 1 and self._halve(attempt, batch)",
        "halved = False",
        tests(f"{COMMITTER}::test_what_lost_a_race_is_planned_anew_and_the_second_time_half_of_it"),
    ),
    mutant(
        "a loser's draws are not stopped",
        COMMIT,
        "no_draws=facts.no_draws | spent)",
        "no_draws=facts.no_draws)",
        tests(f"{COMMITTER}::test_whoever_drew_too_much_draws_exactly_before_not_at_all"),
    ),
    mutant(
        "exact draws are not tried before none",
        COMMIT,
        "spent = losers & attempt.facts.exact_draws if patient else losers",
        "spent = losers",
        tests(f"{COMMITTER}::test_whoever_drew_too_much_draws_exactly_before_not_at_all"),
    ),
    mutant(
        "a loser draws as much as before",
        COMMIT,
        "facts = replace(attempt.facts, exact_draws=self._recent_losers(), pages={})",
        "facts = replace(attempt.facts, pages={})",
        tests(f"{COMMITTER}::test_whoever_drew_too_much_draws_exactly_before_not_at_all"),
    ),
    mutant(
        "a lost race costs everybody",
        COMMIT,
        "if any(pockets.get(lane, 0) < purse.needs[lane] for lane in purse.drawn):",
        "if any(pockets.get(lane, 0) >= 0 for lane in purse.drawn):",
        tests(f"{COMMITTER}::test_a_lost_race_costs_only_those_who_lost_it"),
    ),
    mutant(
        "a race lost lately is forgotten with its batch",
        COMMIT,
        "facts = Facts(exact_draws=self._recent_losers(), no_draws=no_draws)",
        "facts = Facts(no_draws=no_draws)",
        tests(f"{COMMITTER}::test_a_loser_draws_exactly_for_64_batches"),
    ),
    mutant(
        "a race is remembered for ever",
        COMMIT,
        "if n > oldest}",
        "if n > -oldest}",
        tests(f"{COMMITTER}::test_a_loser_draws_exactly_for_64_batches"),
    ),
    mutant(
        "a race that is always lost is run for ever",
        COMMIT,
        "patient = halved or attempt.lost_races <= LOST_RACES_MAX",
        "patient = True",
        tests(
            f"{COMMITTER}"
            "::test_lost_races_halve_the_batch_and_the_smallest_draws_nothing_in_the_end"
        ),
    ),
    mutant(
        "a withdrawal that lost its race is refused at once",
        COMMIT,
        "elif losers and self.state.home.kind is StreamKind.TRANSFERS:",
        "elif losers and self.state.home.kind is StreamKind.ORDERS:",
        tests(f"{COMMITTER}::test_a_withdrawal_that_lost_its_race_must_be_gathered"),
    ),
)

PUBLISHING: Final = (
    Mutant(
        "publish before the commit",
        (
            Edit(
                COMMIT,
                "    lost_at: dict[AccountId, int] = field(default_factory=dict)\n",
                "    lost_at: dict[AccountId, int] = field(default_factory=dict)\n"
                "    early: Callable[[JournalRow], Awaitable[None]] | None = None\n",
            ),
            Edit(
                COMMIT,
                "statement, row = self._seal(attempt, batch)\n",
                "statement, row = self._seal(attempt, batch)\n            await self.early(row)\n",
            ),
            Edit(
                LANE,
                "        self._publisher.published_batch_no = row.published_batch_no\n",
                "        self._publisher.published_batch_no = row.published_batch_no\n"
                "        committer.early = self._publisher.put\n",
            ),
            Edit(LANE, "        await self._publisher.put(row)\n", ""),
        ),
        seeds(20),
    ),
    mutant(
        "skip a failed publish",
        PUBLISHER,
        "                failures += 1\n",
        "                failures += 1\n"
        "                if self._waiting:\n"
        "                    self.published_batch_no = self._waiting.popleft().batch_no\n",
        seeds(20),
    ),
    mutant(
        "count as published before the acknowledgement",
        PUBLISHER,
        "        if records:\n",
        "        self.published_batch_no = self._waiting[taken - 1].batch_no\n"
        "        if records:\n",
        tests(f"{PUBLISHED}::test_what_was_not_acknowledged_does_not_count_as_published"),
    ),
    mutant(
        "publish a batch without its end",
        PUBLISHER,
        "self._missing(journal.decode(row.events, self._route))",
        "self._missing(journal.decode(row.events, self._route)[:3])",
        seeds(20),
    ),
    mutant(
        "what the last owner left unpublished stays unpublished",
        LANE,
        "first = await self._first_unpublished(row, published_seq)",
        "first = row.batch_no + 1",
        seeds(40),
    ),
    mutant(
        "the last owner's journal is published by its first page only",
        LANE,
        "            first += JOURNAL_ROWS_MAX\n",
        "            break\n",
        seeds(60),
    ),
    mutant(
        "the published mark is always zero",
        COMMIT,
        "            published_batch_no=published,\n",
        "            published_batch_no=0,\n",
        seeds(60),
    ),
    mutant(
        "what the topic has is published again",
        PUBLISHER,
        "self._seq(r) > there_seq]",
        "self._seq(r) >= there_seq]",
        tests(f"{TOPIC}::test_what_is_in_the_topic_is_not_published_again"),
    ),
    mutant(
        "what stands behind a gap in the topic counts for all before it",
        PUBLISHER,
        "if seq == reached + 1 or not (reached or whole):",
        "if seq > reached:",
        tests(f"{TOPIC}::test_what_stands_behind_a_gap_is_published_again_with_what_was_in_it"),
    ),
    mutant(
        "a dead letter behind an event that is in the topic is lost",
        PUBLISHER,
        "if r.topic != events_topic or self._seq(r) > there_seq]",
        "if self._seq(r) > there_seq]",
        tests(f"{TOPIC}::test_what_is_in_the_topic_is_not_published_again"),
    ),
    mutant(
        "who waits for a publisher that has ended is not told",
        PUBLISHER,
        "self._ended_by = error",
        "self._failed = True",
        tests("tests/unit/test_events_lost.py"),
    ),
    mutant(
        "a full queue of batches is no reason to wait",
        PUBLISHER,
        "lambda: not self.full or self._ended_by is not None)",
        "lambda: True)",
        tests(f"{PUBLISHED}::test_put_waits_while_the_queue_is_full"),
    ),
)

TAKING_OVER: Final = (
    mutant(
        "what was begun is forgotten",
        LANE,
        "resume_text.decode(row.resume)",
        'resume_text.decode("")',
        seeds(60, first=30),
    ),
    mutant(
        "a sweeping order rests in the book, too",
        LANE,
        "if sweep is None or order.key != sweep.order.key:",
        "if order.key:",
        seeds(60, first=40),
    ),
    mutant(
        "records count before the lane is ready",
        LANE,
        "        if self.status is not LaneStatus.READY:\n            return\n        for record",
        "        for record",
        tests(f"{ONE_LANE}::test_nothing_counts_before_the_lane_is_ready"),
    ),
    mutant(
        "what was answered is answered again",
        LANE,
        "elif record.offset >= self._expected:",
        "else:",
        tests(f"{ONE_LANE}::test_what_was_answered_is_not_taken_again"),
    ),
    mutant(
        "the record before the cursor may be any",
        LANE,
        "if record_sha(record.key, record.value, record.headers) != self._unchecked_sha:",
        'if self._unchecked_sha == "":',
        tests(f"{ONE_LANE}::test_the_record_before_the_cursor_must_be_the_one_that_was_answered"),
    ),
    mutant(
        "a cursor outside of the topic is moved into it",
        LANE,
        "if not first <= row.next_offset <= end:",
        "if end < 0:",
        tests(f"{ONE_LANE}::test_a_cursor_outside_of_the_topic_halts_the_lane"),
    ),
    mutant(
        "a database that has lost what was published goes on",
        LANE,
        "seen_seq > row.last_seq:",
        "seen_seq < 0:",
        tests(f"{ONE_LANE}::test_a_database_older_than_its_topic_halts_the_lane"),
    ),
    mutant(
        "a lane begins one record late",
        LANE,
        "self._expected = row.next_offset\n",
        "self._expected = row.next_offset + 1\n",
        seeds(20),
    ),
    mutant(
        "a parked settlement is paid all the same",
        LANE,
        "for s in state.settlements if not s.parked]",
        "for s in state.settlements]",
        tests(f"{ONE_LANE}::test_a_parked_settlement_gets_no_page"),
    ),
    mutant(
        "pages never get their turn",
        LANE,
        "answers_first = bool(self._taken) and not self._page_turn",
        "answers_first = bool(self._taken)",
        tests(f"{ONE_LANE}::test_pages_take_turns_with_answers"),
    ),
    mutant(
        "a revoked lane goes on",
        ASSIGNMENT,
        "            lane.stop()\n",
        "            pass\n",
        seeds(60, first=40),
    ),
    mutant(
        "a lane that was lost is not taken over again",
        ASSIGNMENT,
        "        while self._tasks.get(partition) is asyncio.current_task():\n",
        "        if self._tasks.get(partition) is asyncio.current_task():\n",
        seeds(20),
    ),
)

CONNECTIONS: Final = (
    mutant(
        "a cancelled commit keeps its connection",
        STORE,
        "except (asyncio.CancelledError, OutcomeUnknown):\n            self._drop()",
        "except (asyncio.CancelledError, OutcomeUnknown):",
        tests(f"{ON_POSTGRES}::test_a_commit_that_is_cancelled_takes_its_connection_along"),
    ),
    mutant(
        "connections to a cluster wait for no turn",
        TARGET,
        "        await self._turns.take()\n",
        "",
        tests(
            "tests/integration/test_dsql_connection.py::test_every_connection_waits_for_its_turn"
        ),
    ),
    mutant(
        "an admin comes with a worker's token",
        TARGET,
        "admin=address.role == ADMIN_ROLE",
        "admin=False",
        tests("tests/integration/test_iam_tokens.py::test_the_admin_role_mints_the_admin_token"),
    ),
    mutant(
        "a missing right is the command's fault",
        OUTCOMES,
        "    **dict.fromkeys(_UNFIT_CLASSES, Unfit),\n",
        "",
        tests("tests/unit/test_outcomes.py::test_what_came_back_is_told_by_its_code"),
    ),
    mutant(
        "a lost connection is a refusal",
        OUTCOMES,
        '("", "08", "25", "40", "53", "57", "58", "XX")',
        '("25", "40", "53", "58", "XX")',
        tests(f"{ON_POSTGRES}::test_a_connection_lost_under_a_commit_leaves_its_outcome_unknown"),
    ),
    mutant(
        "a standby's no is a verdict",
        OUTCOMES,
        '("", "08", "25", "40",',
        '("", "08", "40",',
        tests(f"{ON_POSTGRES}::test_a_server_that_only_reads_is_no_verdict_on_the_batch"),
    ),
    mutant(
        "a lock that is not let go is an unknown outcome",
        OUTCOMES,
        'frozenset({"40001", "40P01", "55P03"})',
        'frozenset({"40001", "40P01"})',
        tests(f"{ON_POSTGRES}::test_a_lock_that_is_not_let_go_in_time_is_a_lost_race"),
    ),
    mutant(
        "a serialization failure is an unknown outcome",
        OUTCOMES,
        'frozenset({"40001", "40P01", "55P03"})',
        'frozenset({"40P01", "55P03"})',
        tests(
            f"{ON_POSTGRES}::test_of_two_lanes_that_draw_from_one_wallet_the_second_loses_a_race"
        ),
    ),
    mutant(
        "every constraint is poison",
        OUTCOMES,
        'if sqlstate.startswith("23"):',
        'if sqlstate.startswith("23") and error is None:',
        contract("test_an_order_id_that_is_taken_is_refused_by_the_orders_key"),
    ),
    mutant(
        "lanes read committed rows as they come",
        "worker/adapters/postgres/connect.py",
        'if isolation != "repeatable read":',
        "if not isolation:",
        tests(f"{ON_POSTGRES}::test_a_weaker_isolation_is_not_accepted"),
    ),
    mutant(
        "a COMMIT that answers ROLLBACK has committed",
        STEPS,
        'if tag != "COMMIT":',
        "if not tag:",
        tests(
            "tests/integration/test_steps.py::test_a_commit_that_answers_rollback_is_a_lost_race"
        ),
    ),
    mutant(
        "steps that fail leave their transaction open",
        STEPS,
        '        await connection.execute("ROLLBACK")\n',
        "",
        contract("test_a_statement_is_committed_once", "postgres_in_steps"),
    ),
    mutant(
        "the plan's hash says who planned it",
        ROWS,
        "if number not in (_EPOCH, _OWNER):",
        "if number >= 0:",
        contract("test_a_plan_has_the_same_hash_whoever_commits_it"),
    ),
    mutant(
        "the plan's hash says nothing of the plan",
        ROWS,
        "if number not in (_EPOCH, _OWNER):",
        "if number == 0:",
        contract("test_of_two_plans_for_one_batch_the_first_wins"),
    ),
)

MUTANTS: Final[tuple[Mutant, ...]] = (
    *CAME_BACK,
    *RACES,
    *PUBLISHING,
    *TAKING_OVER,
    *CONNECTIONS,
)
