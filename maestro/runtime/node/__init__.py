"""What everything on one node shares: the context of handlers, the follower of the log, clock, identity, locks."""
