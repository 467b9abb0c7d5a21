"""Chaos: seeded runs with real processes, one fault each, and the invariants that must hold afterwards."""
