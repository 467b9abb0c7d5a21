"""Benchmark of a fleet: many agents and a long queue on several nodes that share one store."""
