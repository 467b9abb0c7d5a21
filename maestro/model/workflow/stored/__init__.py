"""Stored workflows: what of them is decided, their vars, and the start of a run of one."""
