"""Workspaces are archived before guarded runs, and go back after bad ones."""
