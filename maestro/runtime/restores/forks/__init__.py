"""Making a fork: its folder, its archives and workspaces, then its log, all at once."""
