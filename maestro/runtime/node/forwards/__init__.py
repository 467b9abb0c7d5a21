"""Forwarded commands: what only the daemon of another node can carry out, asked for and answered through the log."""
