"""Snapshots as a node takes, keeps and drops them (`maestro/docs/snapshots.md`)."""
