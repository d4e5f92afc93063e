"""Where types change: bytes become commands, events become bytes, and nowhere else.

    bytes -> command        commands.py   strict and closed; never raises, whatever the bytes
    event -> bytes          events.py     fixed field order; what consumers read
    batch -> journal text   journal.py    the published records, byte for byte, to send again

No rule of the exchange lives here: whether a price fits its market is the domain's business.
"""
