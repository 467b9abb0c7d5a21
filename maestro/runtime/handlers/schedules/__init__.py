"""Handlers of schedules."""
