"""Drives an agent by the Agent Client Protocol: the program of a run whose type says `transport: acp`."""
