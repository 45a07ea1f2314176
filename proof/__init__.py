"""Searches for faults that the tests do not know yet; `python -m proof.NAME` runs one."""
