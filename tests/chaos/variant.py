"""A worker that differs from the shipped one: ``python -m tests.chaos.variant run``.

``VARIANT_RULES`` is added to the number of the rules, as in a later release whose rules changed.
``VARIANT_NAME`` is the member's static name (group.instance.id), which no shipped worker has.
"""

import os

from worker.domain import digest

# Before any other module has read it.
digest.RULES += int(os.environ.get("VARIANT_RULES", "0"))  # type: ignore[misc]

from worker.adapters.kafka import consumer  # noqa: E402
from worker.cli import main  # noqa: E402

if __name__ == "__main__":
    if name := os.environ.get("VARIANT_NAME"):
        consumer.FIXED["group_instance_id"] = name
    main()
