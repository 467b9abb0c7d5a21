"""Handlers of `workflow`: what is stored, and the runs of it."""
