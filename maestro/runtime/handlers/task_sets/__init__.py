"""Sets of tasks that one command is about: those of a batch, and those that were skipped for another task."""
