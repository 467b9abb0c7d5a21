"""Snapshots as a node takes, keeps and drops them (SPEC.md 6)."""
