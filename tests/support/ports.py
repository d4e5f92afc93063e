"""The port on which a process listens."""

import psutil


def listening_port(pid: int) -> int:
    """Return a TCP port on which a process listens, or 0 if it does not listen yet."""
    sockets = psutil.Process(pid).net_connections("tcp4")
    return next((s.laddr.port for s in sockets if s.status == psutil.CONN_LISTEN), 0)
