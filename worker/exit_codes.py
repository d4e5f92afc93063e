"""Exit codes of `parity` and of its workers. `worker.exits` maps errors to them.

An operator finds them in deploy/RUNBOOK.md.
"""

from typing import Final

FAILED: Final = 1
"""A check failed."""
USAGE: Final = 2
"""Wrong usage or configuration."""
UNREACHABLE: Final = 3
"""The broker or the database is unreachable."""
STALLED: Final = 70
"""EX_SOFTWARE of sysexits.h. The watchdog ended the worker: its supervisor must start another."""
UNDRAINED: Final = 75
"""EX_TEMPFAIL of sysexits.h. Nothing is lost, but another owner has to publish the rest."""
INTERRUPTED: Final = 130
"""SIGINT, or a second signal."""
PIPE_CLOSED: Final = 141
"""The code that a shell gives to a program ended by SIGPIPE. Not 0, as a verdict may be missing."""
