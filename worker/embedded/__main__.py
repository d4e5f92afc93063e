"""PostgreSQL and Apache Kafka for a first look: `python -m worker.embedded`, until Ctrl-C.

Prints the two settings that name the servers. Their data is removed when they end.
"""

import contextlib
import signal
import sys

from worker.embedded.together import servers


def main() -> None:
    """Start both servers, print how to reach them, and wait for Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt), servers() as found:
        sys.stdout.write(f"export PARITY_DATABASE_URL={found.database_url}\n")
        sys.stdout.write(f"export PARITY_BOOTSTRAP_SERVERS={found.bootstrap}\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main()
