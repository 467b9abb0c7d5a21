"""Exports: one snapshot as one tar.gz that can be verified by itself, written and read."""
