"""Become a server that dies with its parent: `launch.py PARENT SIGNAL UID GID GUARD ARGV...`.

This program runs before the server, in the same process, because a function between fork and exec
is unsafe once the parent has threads. It imports only the standard library.
"""

import ctypes
import os
import select
import signal
import sys

PR_SET_PDEATHSIG = 1
WATCH_INTERVAL_S = 0.2


def main() -> None:
    parent, death_signal, uid, gid = (int(word) for word in sys.argv[1:5])
    guard, *argv = sys.argv[5:]
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if guard == "kernel":
        # Set after setuid, which clears the death signal. execv keeps it.
        die_with_parent(death_signal)
    else:
        watch_parent(death_signal)
    if os.getppid() != parent:
        # The parent died before the guard was in place.
        sys.exit(1)
    try:
        os.execv(argv[0], argv)  # noqa: S606 -- the command line is this package's own
    except OSError as error:
        sys.exit(f"cannot run {argv[0]}: {error}")


def die_with_parent(death_signal: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")


def watch_parent(death_signal: int) -> None:
    """Fork a watcher that ends the server when the parent's end of standard input closes."""
    server = os.getpid()
    first = os.fork()
    if first == 0:
        # Fork twice, so that the server never sees a child that it did not start.
        if os.fork() == 0:
            watch(server, death_signal)
        os._exit(0)
    os.waitpid(first, 0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def watch(server: int, death_signal: int) -> None:
    while alive(server):
        readable, _, _ = select.select([0], [], [], WATCH_INTERVAL_S)
        if readable and not os.read(0, 1):
            os.kill(server, death_signal)
            # A stopped process acts on the signal only when it continues.
            os.kill(server, signal.SIGCONT)
            break
    os._exit(0)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()
