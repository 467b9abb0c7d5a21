"""The parts that everything on one node shares: context, follower of the log, clock, identity, daemon lock, pause."""
