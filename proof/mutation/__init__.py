"""Breaks csrc on purpose, one small change at a time, and counts what the tests notice of it."""
