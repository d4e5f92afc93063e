"""Parity: a strongly consistent exchange for binary event contracts. This is its map.

    bytes -> command             worker.wire
    records -> batch of commands worker.intake
    command -> batch             worker.domain.plan         pure: decides everything
    batch -> one SQL statement   worker.adapters.postgres   the database derives the money
    step -> committed batch      worker.commit              acts on each decision
    result -> decision           worker.decide              pure: the failure policy
    journal -> events topic      worker.publisher
    path of one batch            worker.lane                read this first
    change of a lane's owner     worker.takeover
    lanes of this process        worker.assignment
    health, HTTP                 worker.health
    topics, streams              worker.topics              worker.topic_rules
    commands of operators        worker.cli                 worker.republish, worker.tail
    demo, stress test            worker.demo, worker.stress both on worker.stage
    check of the books           worker.audit               recounts, and plans every batch again
    check of a target            worker.doctor              tries what all of the above needs

``worker.ports`` has everything that the worker depends on. ``worker.app`` makes the objects of a
process, while a lane makes its own parts. Only ``worker.config`` reads the environment.
``deploy/RUNBOOK.md`` says what an operator does about each alarm.
"""
