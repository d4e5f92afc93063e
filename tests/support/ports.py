"""Where a process listens."""

import psutil


def listening_port(pid: int) -> int:
    """Return a TCP port that a process chose; 0, where nobody answers: none yet."""
    sockets = psutil.Process(pid).net_connections("tcp4")
    return next((s.laddr.port for s in sockets if s.status == psutil.CONN_LISTEN), 0)
