"""The files of workspaces at a position."""
