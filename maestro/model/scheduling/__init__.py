"""Scheduling, pure: the plan of open work, and what is decided next for tasks and runs."""
