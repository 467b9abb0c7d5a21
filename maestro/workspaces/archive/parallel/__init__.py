"""Parallel work: threads, and child processes for work that the interpreter's lock would serialize."""
