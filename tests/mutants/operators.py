"""Broken output, log lines and settings of the commands that operators use."""

from typing import Final

from tests.mutants.mutant import Mutant, mutant, tests

PRINTABLE: Final = "worker/printable.py"
TELEMETRY: Final = "worker/telemetry.py"
CONFIG: Final = "worker/config.py"
STREAMS: Final = "worker/cli/streams.py"

ESCAPES: Final = "tests/unit/test_printable.py"
LINES: Final = "tests/unit/test_log_lines.py"
SETTINGS: Final = "tests/unit/test_config.py"
HABITS: Final = "tests/integration/test_operators.py"
FORGED: Final = tests(f"{LINES}::test_text_lines_cannot_be_forged")
AS_JSON: Final = tests(f"{LINES}::test_every_json_line_is_json")

TEXT: Final = (
    mutant(
        "print control characters as they are",
        PRINTABLE,
        "    if text.isprintable():\n",
        "    if text:\n",
        tests(f"{ESCAPES}::test_unprintable_characters_become_escapes"),
    ),
    mutant(
        "print a record as it is",
        "worker/cli/show.py",
        'sys.stdout.write(f"{printable(text)}\\n")',
        'sys.stdout.write(f"{text}\\n")',
        tests(f"{HABITS}::test_tail_escapes_records"),
    ),
    mutant(
        "log texts as they are",
        TELEMETRY,
        "            fields[name] = printable(value)\n",
        "            fields[name] = value\n",
        FORGED,
    ),
    mutant(
        "log a traceback without a margin",
        TELEMETRY,
        '_TRACEBACK_MARGIN: Final = "    "',
        '_TRACEBACK_MARGIN: Final = ""',
        FORGED,
    ),
    mutant(
        "log lines of libraries as text",
        TELEMETRY,
        "    root.addHandler(_LibraryLines(before, render))\n",
        "    root.addHandler(logging.StreamHandler())\n",
        AS_JSON,
    ),
    mutant(
        "leave a library's unfit line to Python",
        TELEMETRY,
        "    def handleError(",
        "    def another(",
        AS_JSON,
    ),
    mutant(
        "print warnings as text",
        TELEMETRY,
        "    logging.captureWarnings(capture=True)\n",
        "",
        AS_JSON,
    ),
    mutant(
        "print an uncaught exception as text",
        TELEMETRY,
        "    sys.excepthook = _log_exception\n",
        "",
        AS_JSON,
    ),
    mutant(
        "print a thread's exception as text",
        TELEMETRY,
        "    threading.excepthook = lambda",
        "    _ = lambda",
        AS_JSON,
    ),
    mutant(
        "print an exception of a destructor as text",
        TELEMETRY,
        "    sys.unraisablehook = lambda",
        "    _ = lambda",
        AS_JSON,
    ),
)

ENVIRONMENT: Final = (
    mutant(
        "ignore a misspelt setting",
        CONFIG,
        "    problems = _unknown_variables()\n",
        "    problems: list[str] = []\n",
        tests(f"{SETTINGS}::test_unknown_variable_names_the_nearest_setting"),
    ),
    mutant(
        "refuse the variables of a service named parity",
        CONFIG,
        " and not _is_service_link(name, value)",
        "",
        tests(f"{SETTINGS}::test_service_links_of_kubernetes_are_ignored"),
    ),
    mutant(
        "take one topic for two uses",
        CONFIG,
        "        if others:\n",
        "        if len(others) > 1:\n",
        tests(f"{SETTINGS}::test_two_uses_of_a_topic_are_refused"),
    ),
    mutant(
        "keep the newline of a mounted secret",
        CONFIG,
        ", str_strip_whitespace=True",
        "",
        tests(f"{SETTINGS}::test_values_are_stripped"),
    ),
    mutant(
        "write colours to a file",
        CONFIG,
        "    return stream.isatty() and not refused\n",
        "    return not refused\n",
        tests(f"{SETTINGS}::test_colours_need_a_terminal"),
    ),
    mutant(
        "write colours despite NO_COLOR",
        CONFIG,
        "    return stream.isatty() and not refused\n",
        "    return stream.isatty()\n",
        tests(f"{SETTINGS}::test_colours_need_a_terminal"),
    ),
    mutant(
        "draw on a file as on a terminal",
        "worker/stage/show.py",
        "        force_terminal=terminal,\n",
        "        force_terminal=True,\n",
        tests(f"{HABITS}::test_demo_draws_nothing_on_a_file"),
    ),
    mutant(
        "look for the books of another incarnation",
        "worker/stress/volley.py",
        "    if source not in streams:\n",
        "    if not source:\n",
        tests("tests/unit/test_stress.py::test_answer_of_another_incarnation_is_named"),
    ),
)

PIPES: Final = (
    mutant(
        "end with a traceback when nobody reads",
        STREAMS,
        "                raise SystemExit(PIPE_CLOSED) from None\n",
        "                raise\n",
        tests(f"{HABITS}::test_unread_output_ends_commands_quietly"),
    ),
    mutant(
        "leave the rest of the output to the end of Python",
        STREAMS,
        "            _discard(self.fileno())\n",
        "",
        tests(f"{HABITS}::test_full_disk_is_reported"),
    ),
    mutant(
        "stop a worker whose log is lost",
        STREAMS,
        "        except OSError:\n            return size\n",
        "        except ValueError:\n            return size\n",
        tests(f"{HABITS}::test_lost_log_stops_no_worker"),
    ),
    mutant(
        "take U+2028 for the end of a command",
        "worker/cli/publish.py",
        'enumerate(text.split("\\n"), start=1)',
        "enumerate(text.splitlines(), start=1)",
        tests(f"{HABITS}::test_file_may_have_line_separators_in_text"),
    ),
    mutant(
        "publish before the report is known to be writable",
        "producers/load.py",
        "type=_writable",
        "type=str",
        tests("tests/unit/producers/test_load.py"),
    ),
    mutant(
        "leave no room for commands in flight",
        "producers/client.py",
        "        if in_flight_max < 1:\n",
        "        if in_flight_max < 0:\n",
        tests("tests/unit/producers/test_load.py"),
    ),
    mutant(
        "take a rate that is no number for no limit",
        "producers/load.py",
        "    if not 0 <= number < math.inf:\n",
        "    if number < 0 or number == math.inf:\n",
        tests("tests/unit/producers/test_load.py"),
    ),
    mutant(
        "end a lane by a view that fails",
        "worker/views.py",
        "            except Exception as error:",
        "            except KeyError as error:",
        tests("tests/unit/test_views.py"),
    ),
    mutant(
        "let one request take a whole attempt",
        "producers/link.py",
        "REQUESTS_PER_ATTEMPT: Final = 3",
        "REQUESTS_PER_ATTEMPT: Final = 1",
        tests(
            "tests/integration/test_publisher.py::test_silent_broker_is_passed_over_in_one_attempt"
        ),
    ),
    mutant(
        "import the worker into the client",
        "producers/link.py",
        "from aiokafka import AIOKafkaProducer\n",
        "import worker.errors\nfrom aiokafka import AIOKafkaProducer\n",
        tests("tests/integration/test_wheel.py"),
    ),
)

MUTANTS: Final[tuple[Mutant, ...]] = (*TEXT, *ENVIRONMENT, *PIPES)
