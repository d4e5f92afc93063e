"""Broken edges: Kafka's clients, and what watches over the process."""

from typing import Final

from tests.mutants.mutant import Mutant, mutant, tests

KAFKA: Final = "worker/adapters/kafka"
WATCHDOG: Final = "worker/watchdog.py"
BROKER: Final = "tests/contract/test_broker.py"
TRAPS: Final = "tests/contract/test_aiokafka_traps.py"
SECURE: Final = "tests/integration/test_secure_kafka.py"
MINTING: Final = "tests/integration/test_iam_tokens.py"
WATCHING: Final = "tests/unit/test_watchdog.py"

CLIENTS: Final = (
    mutant(
        "what the group remembers is where a lane begins",
        f"{KAFKA}/consumer.py",
        "            self._kafka.seek(partition, 0)\n            self._kafka.pause(partition)\n",
        "            pass\n",
        tests(
            f"{BROKER}::test_nothing_arrives_before_the_first_seek"
            "_whatever_the_group_remembers[kafka-present]"
        ),
    ),
    mutant(
        "a producer that failed goes on",
        f"{KAFKA}/producer.py",
        "        self._usable = False\n        async with",
        "        async with",
        tests(f"{BROKER}::test_a_producer_that_failed_stays_dead[kafka]"),
    ),
    mutant(
        "a batch is sent before the one ahead of it is acknowledged",
        f"{KAFKA}/producer.py",
        "await (await self._kafka.send_batch(batch, topic, partition=partition))",
        "await self._kafka.send_batch(batch, topic, partition=partition)",
        tests(f"{BROKER}::test_nothing_is_published_past_a_batch_that_was_refused"),
    ),
)

TOKENS: Final = (
    mutant(
        "a token that the broker refused is taken for accepted",
        f"{KAFKA}/iam.py",
        "        if not payload:\n",
        "        if payload is None or payload:\n",
        tests(f"{TRAPS}::test_a37_through_the_port_a_challenge_is_answered_and_the_token_dropped"),
    ),
    mutant(
        "a token that the broker refused is used again",
        f"{KAFKA}/iam.py",
        "        self._cache.forget()\n",
        "",
        tests(f"{TRAPS}::test_a37_through_the_port_a_challenge_is_answered_and_the_token_dropped"),
    ),
    mutant(
        "who is refused tries again at once",
        f"{KAFKA}/iam.py",
        "_SYSTEM.sleep(PAUSE_S * ",
        "_SYSTEM.sleep(0.0 * ",
        tests(f"{MINTING}::test_between_two_tries_to_reach_msk_lies_a_moment_that_varies"),
    ),
    mutant(
        "who knows no broker asks on",
        f"{KAFKA}/deadline.py",
        "        if not client.cluster.brokers():\n",
        "        if client.cluster is None:\n",
        tests(f"{SECURE}::test_a37_who_knows_no_broker_does_not_start"),
    ),
    mutant(
        "the load generator forgets how to reach the brokers",
        "producers/load.py",
        "        security=security,\n    ) as publisher",
        "    ) as publisher",
        tests(f"{SECURE}::test_the_load_generator_shows_the_token_that_it_is_given"),
    ),
)

WATCH: Final = (
    mutant(
        "an outage of the database is a stall",
        WATCHDOG,
        "counts = database_answers and seen.end is not None",
        "counts = seen.end is not None",
        tests(f"{WATCHING}::test_an_outage_of_the_database_ends_nothing_however_long"),
    ),
    mutant(
        "a database that says no is a stall",
        WATCHDOG,
        "self.acknowledged_seq, self.refusals",
        "self.acknowledged_seq, 0",
        tests(f"{WATCHING}::test_a_database_that_says_no_ends_nothing_however_long"),
    ),
    mutant(
        "an outage of the broker is a stall",
        WATCHDOG,
        "counts = database_answers and seen.end is not None and seen.lags",
        "counts = database_answers and (seen.end is None or seen.lags)",
        tests(f"{WATCHING}::test_an_outage_of_the_broker_ends_nothing_however_long"),
    ),
    mutant(
        "an offset that only marks a transaction is lag",
        WATCHDOG,
        "        real = await self._waits(seen.lane, seen.next_offset)\n",
        "        real = bool(await self._waits(seen.lane, seen.next_offset)) or seen.lags\n",
        tests(f"{WATCHING}::test_an_offset_that_only_marks_a_transaction_is_no_lag"),
    ),
    mutant(
        "the time of a suspended process counts",
        WATCHDOG,
        "elapsed_s = min(now_s - self._looked_at_s, 2 * self._every_s)",
        "elapsed_s = now_s - self._looked_at_s",
        tests(f"{WATCHING}::test_the_time_of_a_suspended_process_does_not_count"),
    ),
)

MUTANTS: Final[tuple[Mutant, ...]] = (*CLIENTS, *TOKENS, *WATCH)
