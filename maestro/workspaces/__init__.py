"""Workspaces of agents: which folders are allowed, templates, run folders, archives, restores and deletions."""
