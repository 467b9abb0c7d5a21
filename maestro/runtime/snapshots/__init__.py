"""Snapshots of workspaces and log: how a node takes, proves, keeps and deletes them."""
