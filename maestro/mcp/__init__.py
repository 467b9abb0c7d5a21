"""The Model Context Protocol server: what agents that people start, and agents inside runs, call Maestro by."""
