"""Chaos tests: seeded trials with real processes, one fault each, and the invariants that must hold afterwards."""
