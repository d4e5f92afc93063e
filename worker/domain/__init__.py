"""The rules of the exchange: pure functions over frozen integers.

No I/O, clock, randomness or library. ``plan`` turns a lane's state, the commands that arrived and
the facts read for them into everything that the lane then does: rows, events and the next state.
"""
