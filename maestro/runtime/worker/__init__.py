"""The worker of a node: executes the runs that the scheduler has released to it, from the claim to `run.ended`."""
