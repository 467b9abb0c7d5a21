"""Benchmarks: each path of the design beside its reference, measured in the same run."""
