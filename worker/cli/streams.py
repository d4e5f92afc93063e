"""Standard output and standard error of a command, which others may close, fill up or misconfigure.

* Output that nobody reads any more (`parity tail | head -1`) ends the command without a word.
* Output that cannot be written (a full disk) ends it with a message.
* Log lines that cannot be written are dropped, since a log must not stop a lane.
* A character that the encoding lacks is printed as an escape.
"""

import io
import os
import sys
from typing import Final, TextIO

from typing_extensions import Buffer, override

from worker import config
from worker.exit_codes import FAILED, PIPE_CLOSED
from worker.printable import printable
from worker.telemetry import log

_OUT: Final = 1
_ERR: Final = 2


def guard_streams() -> None:
    """Replace sys.stdout and sys.stderr. A stream that is closed leads nowhere."""
    sys.stdout = _text(sys.stdout, _Output)
    sys.stderr = _text(sys.stderr, _Log)


def complain(text: str, code: int) -> None:
    """Write to standard error why the command ends with ``code``. JSON where log lines are JSON."""
    if config.wants_json():
        log.error("command_failed", error=" ".join(text.split()), exit_code=code)
    else:
        sys.stderr.write(f"parity: {printable(' '.join(text.split()))}\n")


class _Output(io.FileIO):
    """Standard output. A failed write ends the command."""

    @override
    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            # What is still in a buffer goes nowhere, so that the end of Python does not fail again.
            _discard(self.fileno())
            if isinstance(error, BrokenPipeError):
                raise SystemExit(PIPE_CLOSED) from None
            complain(f"cannot write to standard output: {error.strerror or error}", FAILED)
            raise SystemExit(FAILED) from None


class _Log(io.FileIO):
    """Standard error. What cannot be written is dropped."""

    @override
    def write(self, data: Buffer, /) -> int:
        size = memoryview(data).nbytes
        try:
            written: int | None = super().write(data)
        except OSError:
            return size
        return size if written is None else written


def _text(stream: TextIO | None, raw: type[io.FileIO]) -> io.TextIOWrapper:
    number = _OUT if raw is _Output else _ERR
    if stream is None:
        # Another file or a connection may have the number now.
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - for the whole process
    buffer = io.BufferedWriter(raw(number, "wb", closefd=False))
    encoding = stream.encoding
    return io.TextIOWrapper(
        buffer, encoding=encoding, errors="backslashreplace", line_buffering=raw is _Log
    )


def _discard(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
