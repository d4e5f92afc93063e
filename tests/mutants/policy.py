"""Broken rows of the failure policy in ``worker.decide``, and a broken loop around it."""

from typing import Final

from tests.mutants.mutant import Edit, Mutant, Nodes, mutant, seeds, tests

COMMIT: Final = "worker/commit.py"
DECIDE: Final = "worker/decide.py"
DECISIONS: Final = "worker/decisions.py"
SEAL: Final = "worker/seal.py"
REFUSALS: Final = "worker/refusals.py"
LANE: Final = "worker/lane.py"
ASSIGNMENT: Final = "worker/assignment.py"

POLICY: Final = "tests/unit/test_decide.py"
COMMITTER: Final = "tests/unit/test_commit.py"
READINGS: Final = "tests/unit/test_readings.py"
MONITOR: Final = "tests/unit/test_refusals.py"
MISCONFIGURED: Final = "tests/integration/test_misconfigured.py"


def row(name: str) -> Nodes:
    """Return the test of a row of the policy's table."""
    return tests(f"{POLICY}::test_result_leads_to_decision[{name}]")


ROWS: Final = (
    mutant(
        "plan a committed batch again",
        DECIDE,
        "        case Committed():\n            return Adopt()\n",
        "        case Committed():\n            return Replan(attempt=attempt)\n",
        row("committed"),
    ),
    mutant(
        "send a batch that lost a race again unchanged",
        DECIDE,
        "        case Conflict():\n            return _refetch(tried)\n",
        "        case Conflict():\n            return Resend(attempt, pause_after(1))\n",
        row("conflict"),
    ),
    mutant(
        "bisect a refused batch without reading its lane",
        DECIDE,
        "            return LookAtLane(result)\n",
        "            return _bisect(attempt, tried, result)\n",
        row("refused"),
    ),
    mutant(
        "keep a fenced owner running",
        DECIDE,
        "if row.epoch != now.epoch:",
        "if row.epoch < now.epoch:",
        row("lane of another"),
    ),
    mutant(
        "never adopt a batch that an earlier try committed",
        DECIDE,
        "== (tried.batch_no, tried.plan_hash):",
        "== (tried.batch_no, None):",
        row("our plan won"),
    ),
    mutant(
        "adopt a batch without comparing the plan's hash",
        DECIDE,
        "if (row.batch_no, row.plan_hash) == (tried.batch_no, tried.plan_hash):",
        "if row.batch_no == tried.batch_no:",
        row("another plan won"),
    ),
    mutant(
        "do not reload a lane that is further than expected",
        DECIDE,
        "if row.batch_no != now.batch_no:",
        "if row.batch_no < now.batch_no:",
        row("our plan, lane further"),
    ),
    mutant(
        "do not count missed pockets as a lost race",
        DECIDE,
        'if refused.constraint == "batches_pockets_missed":',
        'if refused.constraint == "pockets_balance":',
        row("pockets missed"),
    ),
    mutant(
        "bisect at the first refusal",
        DECIDE,
        "if attempt.refused == tried.rows:",
        "if attempt.refused != tried.rows:",
        row("refused once"),
    ),
    mutant(
        "send the same refused plan without end",
        DECIDE,
        "if attempt.refused == tried.rows:",
        "if attempt.refused == ():",
        row("refused, same rows"),
    ),
    mutant(
        "send a poison statement without end",
        DECIDE,
        "            return _bisect(attempt, tried, result)\n",
        "            return Resend(attempt, pause_after(1))\n",
        row("poison"),
    ),
    mutant(
        "plan a batch that is too large again unchanged",
        DECIDE,
        "            return _divide(attempt, tried, result)\n",
        "            return Replan(attempt=attempt)\n",
        row("too large"),
    ),
    mutant(
        "count an unavailable database as an unknown outcome",
        DECIDE,
        "unknowns = attempt.unknowns + isinstance(error, OutcomeUnknown)",
        "unknowns = attempt.unknowns + 1",
        row("unavailable, after unknown"),
    ),
    mutant(
        "read the lane first after an unknown outcome",
        DECIDE,
        "        case Misconfigured() | Unavailable() | OutcomeUnknown():\n",
        "        case OutcomeUnknown():\n"
        "            return LookAtLane(Refused(str(result)))\n"
        "        case Misconfigured() | Unavailable():\n",
        row("unknown"),
    ),
    mutant(
        "never halve a batch of unknown outcome",
        DECIDE,
        "if unknowns < UNKNOWN_MAX:",
        "if unknowns:",
        row("unknown again"),
    ),
    mutant(
        "halve the batch after the first lost race",
        DECIDE,
        "if races > 1 else None",
        "if races > 0 else None",
        row("purses read"),
    ),
    mutant(
        "never halve the batch after lost races",
        DECIDE,
        "_halved(attempt, tried) if races > 1 else None",
        "None",
        row("purses read, 2nd race"),
    ),
    mutant(
        "let a gathering lose one race too many",
        DECIDE,
        "isinstance(attempt.step, Gather) and races >= LOST_RACES_MAX:",
        "isinstance(attempt.step, Gather) and races > LOST_RACES_MAX:",
        row("purses read, last race"),
    ),
    mutant(
        "refuse a withdrawal after its first lost race",
        DECIDE,
        "now.kind is StreamKind.TRANSFERS",
        "now.kind is StreamKind.ORDERS",
        row("purse short, transfers"),
    ),
    mutant(
        "park a command whose plan lacks facts without end",
        DECIDE,
        "        return _reject(attempt, step.commands[0].offset, alarm, error)\n",
        "        return _park(attempt, alarm, error)\n",
        row("readings exhausted"),
    ),
    mutant(
        "reject the next command for a bug in a sweep",
        DECIDE,
        "attempt.situation.sweeping and not error.answering\n",
        "False\n",
        row("rules broken in sweep"),
    ),
    mutant(
        "halt the lane for a bug between two commands",
        DECIDE,
        "attempt.limits.commands > fewer:",
        "attempt.limits.commands < fewer:",
        row("rules broken, rejected"),
    ),
    mutant(
        "reject a command without end when its rejection fails",
        DECIDE,
        "    if offset in rejects:\n",
        "    if not rejects:\n",
        row("rules broken, alone"),
    ),
    mutant(
        "halt the lane at a refused rejection",
        DECIDE,
        "    if error is None:\n",
        "    if error is not None:\n",
        row("poison, rejected"),
    ),
    mutant(
        "halt the lane for a gathering without progress",
        DECIDE,
        "error=GatheringLost, reason=text, alarms=(alarm,))",
        "error=LaneHalted, reason=text, alarms=(alarm,))",
        tests(f"{READINGS}::test_a_gathering_that_lacks_without_end_is_lost"),
    ),
)

VALUES: Final = (
    mutant(
        "answer a command in half of a sweep",
        DECIDE,
        "commands=alone, makers=",
        "commands=1, makers=",
        tests(f"{POLICY}::test_half_has_its_own_limits[sweep]"),
    ),
    mutant(
        "make half of a page as large as the page",
        DECIDE,
        "fills=tried.page_rows // 2)",
        "fills=tried.page_rows)",
        tests(f"{POLICY}::test_half_has_its_own_limits[page]"),
    ),
    mutant(
        "keep the facts of the whole batch for its half",
        DECIDE,
        "        halts=kept.halts,\n    )\n",
        "        halts=kept.halts,\n    ).and_read(kept)\n",
        tests(f"{COMMITTER}::test_too_large_batch_is_halved_until_it_fits"),
    ),
    mutant(
        "halt no market after a bug in the rules",
        DECIDE,
        "halts=facts.halts | {offsets[at]})",
        "halts=facts.halts)",
        tests(f"{POLICY}::test_only_a_bug_halts_the_market"),
    ),
    mutant(
        "plan small batches after a rejected command",
        DECIDE,
        "limits=now.limits, refused=None)",
        "refused=None)",
        tests(f"{POLICY}::test_single_offender_leaves_the_next_plan_whole"),
    ),
    mutant(
        "carry the count of unknown outcomes into the next batch",
        DECIDE,
        "facts=replace(attempt.facts, pages={}), unknowns=0)",
        "facts=replace(attempt.facts, pages={}))",
        tests(f"{POLICY}::test_second_unknown_outcome_begins_a_new_count"),
    ),
    mutant(
        "never lengthen the pauses during an outage",
        DECIDE,
        "    pause = pause_after(attempt.tries)\n",
        "    pause = pause_after(unknowns)\n",
        tests(f"{POLICY}::test_outage_is_asked_about_less_often"),
    ),
    mutant(
        "plan a whole batch after a refused rejection",
        DECIDE,
        "limits=replace(now.limits, commands=now.alone))",
        "limits=now.limits)",
        tests(f"{POLICY}::test_refused_rejection_starts_the_smallest_step_over"),
    ),
    mutant(
        "never stop the draws of a loser",
        DECIDE,
        "no_draws=facts.no_draws | stopped",
        "no_draws=facts.no_draws",
        tests(f"{POLICY}::test_loser_draws_exactly_then_nothing"),
    ),
    mutant(
        "stop draws before exact draws are tried",
        DECIDE,
        "stopped = lost & facts.exact_draws if patient else lost",
        "stopped = lost",
        tests(f"{POLICY}::test_loser_draws_exactly_then_nothing"),
    ),
    mutant(
        "never make the draws of a loser exact",
        DECIDE,
        "exact_draws=facts.exact_draws | lost",
        "exact_draws=facts.exact_draws",
        tests(f"{POLICY}::test_loser_draws_exactly_then_nothing"),
    ),
    mutant(
        "make every account a loser of a lost race",
        DECIDE,
        ".get(lane, 0) < need for",
        ".get(lane, 0) >= 0 for",
        tests(f"{COMMITTER}::test_lost_race_costs_only_its_losers"),
    ),
    mutant(
        "run a race that is always lost without end",
        DECIDE,
        "patient = halved is not None or races <= LOST_RACES_MAX",
        "patient = True",
        tests(f"{COMMITTER}::test_smallest_batch_draws_nothing_in_the_end"),
    ),
    mutant(
        "do not look up known ids after a refusal by the key",
        DECIDE,
        ", read=tried.named)",
        ")",
        tests(f"{COMMITTER}::test_known_order_id_is_answered_as_duplicate"),
    ),
    mutant(
        "look up known ids of orders only",
        DECISIONS,
        "transfers={row.ref for row in draft.transfers.values()},",
        "transfers=set(),",
        tests(f"{COMMITTER}::test_known_transfer_id_is_answered_as_duplicate"),
    ),
)

LOOP: Final = (
    Mutant(
        "adopt before the commit",
        (
            Edit(
                COMMIT,
                "statement, row = self._seal(batch)\n",
                "statement, row = self._seal(batch)\n            batch.adopt()\n",
            ),
            Edit(
                COMMIT,
                "                batch.adopt()\n                self.refusals",
                "                self.refusals",
            ),
        ),
        seeds(20),
    ),
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
                "statement, row = self._seal(batch)\n",
                "statement, row = self._seal(batch)\n            await self.early(row)\n",
            ),
            Edit(
                LANE,
                "published_batch_no=lambda: self._publisher.published_batch_no,\n",
                "published_batch_no=lambda: self._publisher.published_batch_no,\n"
                "            early=self._publisher.put,\n",
            ),
            Edit(LANE, "        await self._publisher.put(row)\n", ""),
        ),
        seeds(20),
    ),
    mutant(
        "record a published mark of zero",
        COMMIT,
        "published_batch_no=self.published_batch_no(),",
        "published_batch_no=0,",
        tests(f"{COMMITTER}::test_batch_records_the_published_mark"),
    ),
    mutant(
        "send a statement that is too large",
        COMMIT,
        "too_large(statement) or await",
        "await",
        tests(f"{COMMITTER}::test_too_large_batch_is_halved_until_it_fits"),
    ),
    mutant(
        "retry a conflict without reading again",
        COMMIT,
        "PursesRead(await self._read(decision.lack))",
        "PursesRead(Facts())",
        tests(f"{COMMITTER}::test_lost_race_reads_the_pockets_again"),
    ),
    mutant(
        "forget the losers of a race after one batch",
        COMMIT,
        "Facts(exact_draws=self._recent_losers(), no_draws=no_draws)",
        "Facts(no_draws=no_draws)",
        tests(f"{COMMITTER}::test_loser_draws_exactly_for_64_batches"),
    ),
    mutant(
        "remember the losers of a race without end",
        COMMIT,
        "if n > oldest}",
        "if n > -oldest}",
        tests(f"{COMMITTER}::test_loser_draws_exactly_for_64_batches"),
    ),
    mutant(
        "remember any number of losers",
        COMMIT,
        "while len(self.lost_at) > LOSERS_MAX:",
        "while len(self.lost_at) > 10**9:",
        tests(f"{COMMITTER}::test_losers_are_remembered_up_to_a_bound"),
    ),
    mutant(
        "never report a database that refuses everything",
        COMMIT,
        "if isinstance(decision, StartOver):",
        "if decision is None:",
        tests(f"{COMMITTER}::test_database_refusing_everything_is_waited_for"),
    ),
    mutant(
        "never cut a plan that keeps asking for facts",
        SEAL,
        "reading >= READINGS_MAX\n",
        "reading > 2 * READINGS_MAX\n",
        tests(f"{READINGS}::test_a_plan_that_keeps_asking_is_cut"),
    ),
    mutant(
        "read facts for a plan without end",
        SEAL,
        "for reading in range(2 * READINGS_MAX):",
        "for reading in range(10**6):",
        tests(f"{READINGS}::test_a_command_that_lacks_without_end_is_rejected"),
    ),
)

REPORTED: Final = (
    mutant(
        "report a single refusal",
        REFUSALS,
        "self.in_a_row >= REPORTED_AFTER",
        "self.in_a_row >= 1",
        tests(f"{MONITOR}::test_lasting_refusals_are_reported_once"),
    ),
    mutant(
        "raise an alarm at each refusal",
        REFUSALS,
        "        if not self.reason:\n",
        "        if lasts:\n",
        tests(f"{MONITOR}::test_lasting_refusals_are_reported_once"),
    ),
    mutant(
        "forget refusals when the lane is taken over",
        ASSIGNMENT,
        "self._make_lane(partition, refusals)",
        "self._make_lane(partition, RefusalMonitor())",
        tests(f"{MISCONFIGURED}::test_missing_table_at_takeover_is_waited_for"),
    ),
)

MUTANTS: Final[tuple[Mutant, ...]] = (*ROWS, *VALUES, *LOOP, *REPORTED)
