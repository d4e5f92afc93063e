"""Fixtures of the chaos tests."""

from tests.support.fixtures import admin, proxy, system, system_options

__all__ = ["admin", "proxy", "system", "system_options"]
