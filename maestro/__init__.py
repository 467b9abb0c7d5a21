"""Maestro: an event-sourced orchestrator of AI agents on Redis Streams."""

__version__ = "1.3.0"
