"""Benchmarks: each code path of Maestro next to a reference, measured in the same run."""
