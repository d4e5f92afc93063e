"""Helpers that tests share, such as fakes of the ports and a bounded wait. No test is here."""
