"""Workspaces go back to what they were before a step of a workflow, and are archived before it, as runs wish."""
