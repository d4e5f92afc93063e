"""Parity: a strongly consistent exchange for binary event contracts. This is its map.

    bytes -> command            worker.wire.commands
    command -> batch            worker.domain.plan       pure: decides everything
    batch -> one SQL statement  worker.adapters.postgres the database derives the money
    what came back -> what next worker.commit            the whole error policy
    journal -> events topic     worker.publisher
    the path of one batch       worker.lane              read this first
    who owns which partition    worker.assignment
    is this process well        worker.watchdog, served by worker.front
    which topics, which streams worker.topics
    what operators type         worker.cli               worker.republish, worker.tail
    are the books right         worker.audit             recounted, and planned again
    does the target have it     worker.doctor            what the above relies on, tried

Everything that the worker depends on stands in ``worker.ports``; every object is made in
``worker.app``; only ``worker.config`` reads the environment. ``deploy/RUNBOOK.md`` has what an
operator does about each alarm.
"""
