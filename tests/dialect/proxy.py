"""ministack's DSQL proxy in front of PostgreSQL, only on the loopback interface.

The interpreter that has ministack runs ``python proxy.py HOST PORT``. The program prints the port
on which it listens, and ends when its standard input ends.
"""

import asyncio
import sys

from ministack.core import pgproxy  # type: ignore[import-not-found]


async def _run(host: str, port: int) -> None:
    async def link(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await pgproxy._handle_client("parity", host, port, reader, writer)

    # ministack's own start function would listen on every address.
    server = await asyncio.start_server(link, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], int(sys.argv[2])))
