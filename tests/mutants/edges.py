"""Broken Kafka clients, retries, watchdog and programs."""

from typing import Final

from tests.mutants.mutant import Mutant, mutant, tests

KAFKA: Final = "worker/adapters/kafka"
WATCHDOG: Final = "worker/health/watchdog.py"
BROKER: Final = "tests/contract/test_broker.py"
TRAPS: Final = "tests/contract/test_aiokafka_traps.py"
SECURE: Final = "tests/integration/test_secure_kafka.py"
MINTING: Final = "tests/integration/test_iam_tokens.py"
PARSING: Final = "tests/unit/test_kafka_batches.py"
UNPACKING: Final = "tests/unit/test_unpack.py"
FAULTS: Final = "tests/unit/test_fetch_faults.py"
FETCHING: Final = "tests/integration/test_fetch_errors.py"
BOMBS: Final = "tests/integration/test_bombs.py"
ODD: Final = "tests/integration/test_odd_records.py"
RETRYING: Final = "tests/unit/test_retry.py"
TOPIC_WATCH: Final = "worker/health/topic_watch.py"
TOPIC_RULES: Final = "worker/topic_rules.py"
TOPICS_WATCHED: Final = "tests/unit/test_topic_watch.py"
RULES_OF_TOPICS: Final = "tests/unit/test_topic_rules.py"
WATCHING: Final = "tests/unit/test_watchdog.py"
SERVER: Final = "worker/adapters/http.py"
SERVING: Final = "tests/integration/test_http.py"

CLIENTS: Final = (
    mutant(
        "deliver from the group's committed offset before the first seek",
        f"{KAFKA}/consumer.py",
        "            self._kafka.seek(partition, 0)\n            self._kafka.pause(partition)\n",
        "            pass\n",
        tests(f"{BROKER}::test_nothing_arrives_before_first_seek[kafka-present]"),
    ),
    mutant(
        "keep using a producer after an error",
        f"{KAFKA}/producer.py",
        "        self._usable = False\n        async with",
        "        async with",
        tests(f"{BROKER}::test_failed_producer_stays_unusable[kafka]"),
    ),
    mutant(
        "send a batch before the previous one is acknowledged",
        f"{KAFKA}/producer.py",
        "await (await self._kafka.send_batch(batch, topic, partition=partition))",
        "await self._kafka.send_batch(batch, topic, partition=partition)",
        tests(f"{BROKER}::test_nothing_is_published_after_refused_batch"),
    ),
    mutant(
        "leave connections open if a stop meets a failed fetch",
        f"{KAFKA}/group.py",
        "    await stop_within(seconds, kafka.stop())\n    await sever(kafka)\n",
        "    await stop_within(seconds, kafka.stop())\n",
        tests(f"{TRAPS}::test_a11_port_reader_leaves_no_connection"),
    ),
)

BATCHES: Final = (
    mutant(
        "fail to read a header name that is not UTF-8",
        f"{KAFKA}/batches.py",
        "name.decode(errors=HEADER_NAME_ERRORS)",
        "name.decode()",
        tests(f"{PARSING}::test_odd_header_names_are_read_in_order[0]"),
    ),
    mutant(
        "fail to send a header name that is not UTF-8",
        f"{KAFKA}/producer.py",
        "except UnicodeEncodeError:",
        "except UnicodeDecodeError:",
        tests(f"{TRAPS}::test_a38_port_keeps_bytes_of_header_names"),
    ),
    mutant(
        "deliver records twice when a batch is parsed again",
        f"{KAFKA}/batches.py",
        "elif item.offset >= self.next_fetch_offset:",
        "else:",
        tests(f"{PARSING}::test_odd_batch_is_read_from_position"),
    ),
    mutant(
        "parse batches for consumers that are not marked",
        f"{KAFKA}/batches.py",
        "key_deserializer if isinstance(key_deserializer, Turn) else None",
        "key_deserializer if isinstance(key_deserializer, Turn) else Turn()",
        tests(f"{PARSING}::test_unmarked_consumers_are_unchanged"),
    ),
    mutant(
        "end the worker at an unreadable batch",
        f"{KAFKA}/batches.py",
        "                found.append(UnreadableBatch(self.next_fetch_offset, error))\n",
        "                raise\n",
        tests(f"{PARSING}::test_damaged_batch_ends_fetch_at_its_offset[-1]"),
    ),
    mutant(
        "deliver records of an aborted transaction",
        f"{KAFKA}/batches.py",
        "return batch.is_transactional and batch.producer_id in self._aborted_producers",
        "return False",
        tests(f"{PARSING}::test_aborted_odd_batch_is_passed_over"),
    ),
    mutant(
        "unpack a batch as a whole, however large",
        f"{KAFKA}/batches.py",
        "            if len(content) > UNPACKED_AT_ONCE:\n                return None\n",
        "",
        tests(f"{PARSING}::test_skipping_a_record_counts_as_work"),
    ),
    mutant(
        "keep an enormous record whole",
        f"{KAFKA}/batches.py",
        "kept = min(length, RECORD_BYTES_MAX)",
        "kept = length",
        tests(f"{PARSING}::test_record_beyond_limit_is_cut"),
    ),
    mutant(
        "take a record with cut headers for a command",
        f"{KAFKA}/batches.py",
        "    if len(value) < len(body) // 2:\n        value = bytes(body)\n",
        "",
        tests(f"{PARSING}::test_record_of_enormous_key_is_no_command"),
    ),
    mutant(
        "give a partition as much of a poll as it likes",
        f"{KAFKA}/batches.py",
        "min(turn.left, SHARE_BYTES)",
        "2**60",
        tests(f"{PARSING}::test_poll_returns_a_share_of_large_batch"),
    ),
    mutant(
        "give each partition a poll of its own",
        f"{KAFKA}/batches.py",
        "        turn.left -= before - share\n",
        "",
        tests(f"{PARSING}::test_all_partitions_share_one_turn"),
    ),
    mutant(
        "count no work for bytes that are passed over",
        f"{KAFKA}/batches.py",
        "                share -= done\n",
        "",
        tests(f"{PARSING}::test_skipping_a_record_counts_as_work"),
    ),
    mutant(
        "let all partitions use large decompressors at once",
        f"{KAFKA}/batches.py",
        "        while is_large and not turn.hold(reader):\n            yield 0\n",
        "",
        tests(f"{PARSING}::test_one_partition_has_a_large_decompressor"),
    ),
    mutant(
        "drop the rest of a batch when its partition pauses",
        f"{KAFKA}/batches.py",
        "            if state.paused and state.position == records.next_fetch_offset:\n",
        "            if False:\n",
        tests(f"{PARSING}::test_paused_rest_of_batch_is_kept"),
    ),
    mutant(
        "believe the size that a block of snappy claims",
        f"{KAFKA}/unpack.py",
        "if length > len(block) * _SNAPPY_RATIO_MAX:",
        "if length < 0:",
        tests(f"{UNPACKING}::test_impossible_content_is_refused"),
    ),
    mutant(
        "unpack a member of gzip in one piece",
        f"{KAFKA}/unpack.py",
        "file.read1(PIECE_BYTES)",
        "file.read()",
        tests(f"{UNPACKING}::test_bomb_is_unpacked_in_small_pieces[gzip]"),
    ),
    mutant(
        "let an error of one partition reach aiokafka",
        f"{KAFKA}/faults.py",
        "        return known in _LEFT\n",
        "        return True\n",
        tests(f"{FAULTS}::test_error_of_partition_leaves_others_alone"),
    ),
    mutant(
        "fetch a refused partition again at once",
        f"{KAFKA}/faults.py",
        "        hold_back(partition)\n",
        "",
        tests(f"{FAULTS}::test_error_of_partition_leaves_others_alone"),
    ),
    mutant(
        "halt a lane because its leader moves for long",
        f"{KAFKA}/faults.py",
        "Kind.MOVING if code in _MOVING else Kind.REFUSED",
        "Kind.REFUSED",
        tests(f"{FAULTS}::test_only_lasting_refusal_is_hopeless"),
    ),
    mutant(
        "let aiokafka pass over a batch that does not arrive whole",
        f"{KAFKA}/faults.py",
        "known is NoError and (not records or has_whole_batch(records))",
        "known is NoError",
        tests(f"{FAULTS}::test_fetch_without_whole_batch_is_a_refusal"),
    ),
    mutant(
        "keep silent about a transaction that stays open",
        f"{KAFKA}/faults.py",
        "            self._note_open(partition, item)\n",
        "",
        tests(f"{FAULTS}::test_open_transaction_is_reported_while_it_lasts"),
    ),
    mutant(
        "restart a worker because the brokers refuse a partition",
        WATCHDOG,
        "end = None if self.unfetched else self.end",
        "end = self.end",
        tests(f"{WATCHING}::test_unfetched_lane_is_not_stalled"),
    ),
    mutant(
        "fetch an unreadable batch without end",
        f"{KAFKA}/faults.py",
        "fault.count >= READS_MAX",
        "fault.count < 0",
        tests(f"{FAULTS}::test_unreadable_batch_is_hopeless_after_three_reads"),
    ),
    mutant(
        "halt at an unreadable batch without another fetch",
        f"{KAFKA}/faults.py",
        "READS_MAX: Final = 3",
        "READS_MAX: Final = 1",
        tests(f"{FAULTS}::test_unreadable_batch_is_hopeless_after_three_reads"),
    ),
    mutant(
        "take the arrival of an unreadable batch for its end",
        f"{KAFKA}/faults.py",
        "if fault is not None and fault.kind is not Kind.UNREADABLE:",
        "if fault is not None:",
        tests(f"{FAULTS}::test_delivery_does_not_end_unreadable_batch"),
    ),
    mutant(
        "rebuild the consumer at an unreadable batch",
        "worker/assignment.py",
        "        except FetchFailed as error:\n",
        "        except FetchFailed as error:\n            raise\n",
        tests(f"{FETCHING}::test_damaged_batch_halts_its_lane_only"),
    ),
    mutant(
        "resume a refused partition before its pause has ended",
        f"{KAFKA}/consumer.py",
        " or self._faults.waits(partition)",
        "",
        tests(f"{FETCHING}::test_partition_that_waits_is_not_resumed"),
    ),
    mutant(
        "give up an adoption that loses a race",
        "worker/adapters/postgres/catalog.py",
        "await _retried(adopted)",
        "await adopted()",
        tests("tests/integration/test_store.py::test_topics_adopted_at_once_are_all_stored"),
    ),
    mutant(
        "bound a lane's queue by count only",
        "worker/assignment.py",
        "return max(lane.beyond_cursor / QUEUED_RECORDS_MAX, lane.backlog_bytes / share)",
        "return lane.beyond_cursor / QUEUED_RECORDS_MAX",
        tests(f"{BOMBS}::test_queue_is_bounded_by_bytes"),
    ),
    mutant(
        "take a batch of any number of bytes",
        "worker/intake.py",
        "            if self._taken_bytes >= BYTES_PER_BATCH:\n                break\n",
        "",
        tests("tests/unit/test_lane.py::test_batch_is_bounded_by_bytes"),
    ),
    mutant(
        "bound unpublished batches by count only",
        "worker/publisher.py",
        " or size >= QUEUED_BYTES_MAX",
        "",
        tests("tests/unit/test_publisher.py::test_queue_is_full_by_bytes_too"),
    ),
    mutant(
        "count a lane's lag by its last record",
        "worker/lane.py",
        "return answered if self.backlog else max(answered, self._position)",
        "return answered",
        tests("tests/unit/test_lane.py::test_lane_reaches_position_when_nothing_waits"),
    ),
    mutant(
        "skip waiting records in a lane's position",
        "worker/lane.py",
        "return answered if self.backlog else max(answered, self._position)",
        "return max(answered, self._position)",
        tests("tests/unit/test_lane.py::test_lane_reaches_position_when_nothing_waits"),
    ),
    mutant(
        "wait in an audit for a record at each offset",
        "worker/audit/gather.py",
        "                self._reached[at] = self._positions[at]\n",
        "                self._reached[at] = len(self._tapes[at])\n",
        tests(f"{ODD}::test_transaction_markers_are_skipped"),
    ),
    mutant(
        "make null headers empty in dead letters",
        "worker/wire/journal.py",
        "[_base64(_name(name)), _base64(content)]",
        '[_base64(_name(name)), _base64(content or b"")]',
        tests("tests/unit/wire/test_journal.py::test_null_header_stays_null_in_dead_letters"),
    ),
    mutant(
        "convert a seq of any length",
        "worker/wire/journal.py",
        " and len(digits) <= SEQ_DIGITS_MAX",
        "",
        tests("tests/unit/wire/test_journal.py::test_strange_seq_is_no_event"),
    ),
    mutant(
        "start without the compression codecs",
        f"{KAFKA}/broker.py",
        "        require_codecs()\n",
        "",
        tests(f"{TRAPS}::test_a34_missing_codecs_are_refused_at_start"),
    ),
    mutant(
        "pass the doctor's check of codecs without trying any",
        f"{KAFKA}/probes.py",
        "failed = [name for name in CODECS if not reads(name)]",
        "failed: list[str] = []",
        tests(f"{PARSING}::test_doctor_tries_every_codec"),
    ),
    mutant(
        "hash header names by bytes that the record does not have",
        "worker/wire/decode.py",
        "name.encode(errors=HEADER_NAME_ERRORS)",
        'name.encode(errors="surrogatepass")',
        tests("tests/unit/wire/test_decode.py::test_sha_covers_the_bytes_of_header_names"),
    ),
    mutant(
        "change odd header names in dead letters",
        "worker/wire/journal.py",
        "b64decode(name).decode(errors=HEADER_NAME_ERRORS)",
        'b64decode(name).decode(errors="replace")',
        tests("tests/unit/wire/test_journal.py::test_header_name_of_any_bytes_is_kept"),
    ),
)

RETRIES: Final = (
    mutant(
        "repeat a failed call without a bound",
        "worker/retry.py",
        "failures == tries or ",
        "",
        tests(f"{RETRYING}::test_last_error_is_raised_without_pause"),
    ),
    mutant(
        "repeat a call after any error",
        "worker/retry.py",
        " or not _accepts(on, error)",
        "",
        tests(f"{RETRYING}::test_failures_are_reported_unless_raised"),
    ),
    mutant(
        "repeat a failed call without a pause",
        "worker/retry.py",
        "        await system.back_off(failures, cap_s=cap)\n",
        "",
        tests(f"{RETRYING}::test_pauses_double_up_to_the_cap"),
    ),
)

TOKENS: Final = (
    mutant(
        "take a refused token for accepted",
        f"{KAFKA}/iam.py",
        "        if not payload:\n",
        "        if payload is None or payload:\n",
        tests(f"{TRAPS}::test_a37_port_answers_challenge_and_drops_token"),
    ),
    mutant(
        "use a refused token again",
        f"{KAFKA}/iam.py",
        "        self._cache.forget()\n",
        "",
        tests(f"{TRAPS}::test_a37_port_answers_challenge_and_drops_token"),
    ),
    mutant(
        "retry a refused authentication without a pause",
        f"{KAFKA}/iam.py",
        "_SYSTEM.sleep(PAUSE_S * ",
        "_SYSTEM.sleep(0.0 * ",
        tests(f"{MINTING}::test_retries_against_msk_have_jitter"),
    ),
    mutant(
        "start a client that knows no brokers",
        f"{KAFKA}/deadline.py",
        "        if not client.cluster.brokers():\n",
        "        if client.cluster is None:\n",
        tests(f"{SECURE}::test_a37_client_without_brokers_does_not_start"),
    ),
    mutant(
        "connect the load generator without its security settings",
        "producers/load.py",
        "        security=security,\n    ) as publisher",
        "    ) as publisher",
        tests(f"{SECURE}::test_load_generator_presents_its_token"),
    ),
)

WATCH: Final = (
    mutant(
        "count a database outage as a stall",
        WATCHDOG,
        "counts = database_answers and seen.end is not None",
        "counts = seen.end is not None",
        tests(f"{WATCHING}::test_outage_ends_nothing[database]"),
    ),
    mutant(
        "count a refusing database as a stall",
        WATCHDOG,
        "self.acknowledged_seq, self.refusals",
        "self.acknowledged_seq, 0",
        tests(f"{WATCHING}::test_refusing_database_ends_nothing"),
    ),
    mutant(
        "count a broker outage as a stall",
        WATCHDOG,
        "counts = database_answers and seen.end is not None and seen.lags",
        "counts = database_answers and (seen.end is None or seen.lags)",
        tests(f"{WATCHING}::test_outage_ends_nothing[broker]"),
    ),
    mutant(
        "count a transaction marker as lag",
        WATCHDOG,
        "        real = await self._waits(seen.lane, seen.next_offset)\n",
        "        real = bool(await self._waits(seen.lane, seen.next_offset)) or seen.lags\n",
        tests(f"{WATCHING}::test_transaction_marker_is_no_lag"),
    ),
    mutant(
        "count the time of a suspended process as a stall",
        WATCHDOG,
        "elapsed_s = min(now_s - self._looked_at_s, 2 * self._every_s)",
        "elapsed_s = now_s - self._looked_at_s",
        tests(f"{WATCHING}::test_suspended_time_does_not_count"),
    ),
)

HTTP: Final = (
    mutant(
        "answer any number of requests at once",
        SERVER,
        "if self._answering >= REQUESTS_MAX:",
        "if self._answering > 2 * REQUESTS_MAX:",
        tests(f"{SERVING}::test_surplus_requests_are_busy"),
    ),
    mutant(
        "count finished requests as open",
        SERVER,
        "            self._answering -= 1\n",
        "            pass\n",
        tests(f"{SERVING}::test_surplus_requests_are_busy"),
    ),
    mutant(
        "refuse without the time to ask again",
        SERVER,
        "if status == _UNAVAILABLE:",
        "if status == 0:",
        tests(f"{SERVING}::test_surplus_requests_are_busy"),
    ),
    mutant(
        "compute with a number of any length",
        SERVER,
        'compile(r"[1-9][0-9]{0,3}")',
        'compile(r"[0-9]+")',
        tests(f"{SERVING}::test_errors_are_json"),
    ),
    mutant(
        "keep a proof for an hour",
        SERVER,
        "PROOF_KEPT_S: Final = 1.0",
        "PROOF_KEPT_S: Final = 3_600.0",
        tests(f"{SERVING}::test_proof_is_at_most_one_second_old"),
    ),
    mutant(
        "keep a result longer than asked",
        SERVER,
        "self._clock() - self._began_s <= self._kept_s",
        "True",
        tests(f"{SERVING}::test_concurrent_proofs_share_one_computation"),
    ),
    mutant(
        "keep an error of a proof",
        SERVER,
        "        return not failed and self",
        "        return failed or self",
        tests(f"{SERVING}::test_failed_computation_is_not_kept"),
    ),
    mutant(
        "look for a market of any name",
        "worker/health/serve.py",
        "if not is_id(market_id):",
        "if not market_id:",
        tests(f"{SERVING}::test_invalid_market_name_is_400[x8000]"),
    ),
    mutant(
        "remember the names that clients ask for",
        "worker/app.py",
        "import partition_by_murmur2\n",
        "import partition_of as partition_by_murmur2\n",
        tests(f"{SERVING}::test_names_asked_for_enter_no_cache"),
    ),
)

PROGRAMS: Final = (
    mutant(
        "exit as for an outage when there is no such database",
        "worker/exits.py",
        "error.sqlstate == _MISSING_DATABASE",
        "error.sqlstate is None",
        tests("tests/unit/test_exits.py::test_expected_error_ends_with_code_and_line"),
    ),
    mutant(
        "log the cause of a wait at every try",
        "worker/app.py",
        "if text != self._text or",
        "if text or",
        tests("tests/unit/test_app.py::test_cause_of_wait_is_logged_once"),
    ),
    mutant(
        "log the cause of a wait only once",
        "worker/app.py",
        "now_s - self._logged_at_s >= WAIT_LOGGED_EVERY_S",
        "now_s < 0",
        tests("tests/unit/test_app.py::test_cause_of_wait_is_logged_once"),
    ),
    mutant(
        "show the password of a database that cannot be reached",
        "worker/adapters/postgres/outcomes.py",
        'urlsplit(url).netloc.rpartition("@")[2]',
        "urlsplit(url).netloc",
        tests("tests/unit/test_outcomes.py::test_failed_connect_names_address_without_password"),
    ),
    mutant(
        "blame the range for a price that is no integer",
        "producers/encode.py",
        "rules = ((_is_int, _INT_RULE), (_is_in_range, _RANGE_RULE))",
        "rules = ((_is_in_range, _RANGE_RULE),)",
        tests(
            "tests/integration/test_publisher.py::test_malformed_command_is_refused_before_sending"
        ),
    ),
    mutant(
        "show invariants as checked that need the topics",
        "worker/cli/show.py",
        "without_events = result.replayed is None",
        "without_events = False",
        tests("tests/integration/test_cli.py::test_commands_work_from_migrate_to_proof"),
    ),
    mutant(
        "exit as for wrong books when the broker is unreachable",
        "worker/exits.py",
        "((BrokerError, PublisherError), Ending(UNREACHABLE",
        "((BrokerError, PublisherError), Ending(FAILED",
        tests("tests/unit/test_stage.py::test_error_sets_exit_code"),
    ),
    mutant(
        "pass the masked database address to child processes",
        "worker/config.py",
        "values = {**settings.model_dump(), **secret}",
        "values = {**secret, **settings.model_dump()}",
        tests("tests/unit/test_stage.py::test_environment_carries_settings"),
    ),
    mutant(
        "pass a stress test with missing postings",
        "worker/stress/volley.py",
        'equal("trade postings / two per trade", self.after.postings, 2 * self.trades),',
        "",
        tests("tests/unit/test_stress.py::test_wrong_books_fail"),
    ),
)

TOPICS: Final = (
    mutant(
        "take over a recreated topic",
        "worker/intake.py",
        "        await self._check_topic(source)\n",
        "",
        tests("tests/unit/test_lane.py::test_other_topic_id_halts_at_take_over"),
    ),
    mutant(
        "work on in a recreated topic",
        TOPIC_WATCH,
        "lane.halt(why)",
        "pass",
        tests(f"{TOPICS_WATCHED}::test_recreated_topic_halts_only_its_lanes"),
    ),
    mutant(
        "halt the lanes of another topic that was not recreated",
        TOPIC_WATCH,
        " and partition.topic == topic",
        "",
        tests(f"{TOPICS_WATCHED}::test_recreated_topic_halts_only_its_lanes"),
    ),
    mutant(
        "halt a lane while it loads, which it then forgets",
        TOPIC_WATCH,
        " and lane.status is LaneStatus.READY",
        "",
        tests(f"{TOPICS_WATCHED}::test_loading_lane_is_left_to_its_take_over"),
    ),
    mutant(
        "raise the alarm about a topic at every look",
        TOPIC_WATCH,
        "if before.get(name) != why:",
        "if why:",
        tests(f"{TOPICS_WATCHED}::test_wrong_setting_is_an_alarm_until_right"),
    ),
    mutant(
        "compare an id with brokers that have none",
        TOPIC_RULES,
        "if not known_id or not found_id or known_id == found_id:",
        "if not known_id or known_id == found_id:",
        tests(f"{RULES_OF_TOPICS}::test_same_or_unknown_id_is_not_foreign"),
    ),
    mutant(
        "accept a compacted topic",
        TOPIC_RULES,
        'if policy != "delete":',
        'if policy == "none":',
        tests(f"{RULES_OF_TOPICS}::test_unsuitable_setting_is_named"),
    ),
    mutant(
        "accept a topic that is compacted and deleted",
        TOPIC_RULES,
        'if policy != "delete":',
        'if "delete" not in policy:',
        tests(f"{RULES_OF_TOPICS}::test_unsuitable_setting_is_named"),
    ),
    mutant(
        "accept small batches of events",
        TOPIC_RULES,
        "if at_most < PUBLISHED_BYTES_MAX:",
        "if at_most < 0:",
        tests(f"{RULES_OF_TOPICS}::test_unsuitable_setting_is_named"),
    ),
    mutant(
        "accept more in-sync replicas than there are replicas",
        TOPIC_RULES,
        "if topic.replicas < in_sync:",
        "if topic.replicas < 1:",
        tests(f"{RULES_OF_TOPICS}::test_unsuitable_setting_is_named"),
    ),
    mutant(
        "accept a topic that keeps its records for minutes",
        TOPIC_RULES,
        "if 0 <= retention_ms < HOUR_MS:",
        "if 0 > retention_ms > HOUR_MS:",
        tests(f"{RULES_OF_TOPICS}::test_unsuitable_setting_is_named"),
    ),
    mutant(
        "refuse a topic that keeps its records without end",
        TOPIC_RULES,
        "if 0 <= retention_ms < HOUR_MS:",
        "if retention_ms < HOUR_MS:",
        tests(f"{RULES_OF_TOPICS}::test_suitable_topics_have_no_problem"),
    ),
    mutant(
        "count the replicas that are in sync, which change at any time",
        f"{KAFKA}/admin.py",
        "_REPLICAS: Final = 3",
        "_REPLICAS: Final = 4",
        tests("tests/unit/test_kafka_admin.py::test_replicas_out_of_sync_count"),
    ),
    mutant(
        "accept a topic that refuses old events",
        TOPIC_RULES,
        "if oldest_ms < YEAR_MS:",
        "if oldest_ms < 0:",
        tests(f"{RULES_OF_TOPICS}::test_unsuitable_setting_is_named"),
    ),
    mutant(
        "start with topics whose settings are wrong",
        "worker/topics.py",
        "if found := problem(topics[name], is_input=name in settings.inputs):",
        "if found := problem(topics[names[0]], is_input=True):",
        tests("tests/integration/test_streams.py::test_compacted_topic_is_refused"),
    ),
    mutant(
        "move lane time by a sender's stamp",
        "worker/ports.py",
        "return self.timestamp_ms if self.by_broker else 0",
        "return self.timestamp_ms",
        tests("tests/unit/test_lane.py::test_senders_stamp_does_not_move_time"),
    ),
    mutant(
        "take a sender's stamp for the broker's",
        f"{KAFKA}/batches.py",
        "fetched.timestamp_type == _LOG_APPEND_TIME",
        "True",
        tests(f"{BROKER}::test_stamps_say_whose_they_are"),
    ),
    mutant(
        "halt a lane whose topic begins late although it never answered anything",
        "worker/intake.py",
        "if not row.next_offset and first:",
        "if first > end:",
        tests("tests/unit/test_lane.py::test_first_start_begins_at_first_record"),
    ),
    mutant(
        "count expired records as lag",
        "worker/lane.py",
        "answered = max(next_offset, self._intake.first)",
        "answered = next_offset",
        tests("tests/unit/test_lane.py::test_first_start_begins_at_first_record"),
    ),
    mutant(
        "execute again what another incarnation has answered",
        "worker/topics.py",
        "if begins < rival.next_offset:",
        "if begins < 0:",
        tests("tests/integration/test_streams.py::test_answered_records_refuse_other_stream"),
    ),
    mutant(
        "refuse a new incarnation on a recreated topic",
        "worker/topics.py",
        "if not foreign(name, rival.topic_id, topic.topic_id)",
        "if name",
        tests("tests/integration/test_streams.py::test_recreated_topic_admits_other_stream"),
    ),
    mutant(
        "adopt a topic that does not hold the lanes' cursors",
        "worker/topics.py",
        "if not start <= cursor <= end:",
        "if not start:",
        tests("tests/integration/test_streams.py::test_short_topic_is_not_adopted"),
    ),
    mutant(
        "replace the id of a topic at every start",
        "worker/adapters/postgres/catalog.py",
        "if wanted.topic_id and not (found and found.topic_id):",
        "if wanted.topic_id:\n"
        "            await _fetch(\n"
        "                connection, statements.ADOPT_TOPIC, wanted.stream, wanted.topic_id\n"
        "            )",
        tests("tests/integration/test_streams.py::test_first_topic_id_stays"),
    ),
    mutant(
        "exchange the two input topics of a database",
        "worker/topics.py",
        "if row.kind is not kind:",
        "if not row.kind:",
        tests("tests/integration/test_streams.py::test_exchanged_topics_are_refused"),
    ),
    mutant(
        "keep books in a database that is not in UTF-8",
        "worker/adapters/postgres/connect.py",
        "if encoding != ENCODING:",
        "if not encoding:",
        tests("tests/integration/test_migrate.py::test_database_of_another_encoding_is_refused"),
    ),
    mutant(
        "exit as drained although work was cut off",
        "worker/app.py",
        "return work.done() and not self.assignments.cut_off",
        "return True",
        tests("tests/unit/test_app.py::test_cut_off_lane_is_not_drained"),
    ),
    mutant(
        "commit as one statement although steps are configured",
        "worker/app.py",
        'in_steps=settings.commit_mode == "steps"',
        "in_steps=False",
        tests("tests/unit/test_app.py::test_commit_mode_reaches_the_store"),
    ),
)

MUTANTS: Final[tuple[Mutant, ...]] = (
    *CLIENTS,
    *BATCHES,
    *RETRIES,
    *TOKENS,
    *WATCH,
    *HTTP,
    *PROGRAMS,
    *TOPICS,
)
