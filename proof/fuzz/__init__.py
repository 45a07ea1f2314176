"""Fuzzers, one for each interface, and what they share."""
