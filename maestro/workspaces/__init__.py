"""Workspaces: guards, templates, run folders."""
