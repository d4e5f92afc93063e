"""Conversion between bytes and the domain's types, which happens nowhere else.

    bytes -> command        decode.py     strict and closed, never raises, whatever the bytes
    event -> bytes          events.py     fixed field order, read by consumers
    batch -> journal text   journal.py    the published records, byte for byte, to send again

This package has no rule of the exchange. The domain decides whether a price fits its market.
"""
