"""Processor time, which other programs on the machine influence less than real time."""

import contextlib

import psutil


def cpu_seconds(*pids: int) -> float:
    """Return the processor seconds used so far by processes and their children."""
    return sum(_of(psutil.Process(pid)) for pid in pids)


def _of(process: psutil.Process) -> float:
    own = process.cpu_times()
    spent = own.user + own.system + own.children_user + own.children_system
    for child in process.children():
        # A child that ends now is counted in its parent's times at the next call.
        with contextlib.suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            spent += times.user + times.system
    return float(spent)
