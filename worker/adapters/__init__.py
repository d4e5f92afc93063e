"""The only rooms that meet the outside: Kafka, the database, HTTP, the clock.

Each implements a port of `worker.ports` and turns its driver's errors into those of
`worker.errors`. No rule of the exchange lives here, and adapters do not know each other.
"""
