"""Snapshots over several nodes: who asks for one, the leader that goes from step to step, and each node's part."""
