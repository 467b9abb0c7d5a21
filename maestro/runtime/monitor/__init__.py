"""The monitor: the heartbeat that samples runs, and the checks that say whether an agent is healthy."""
