"""Runs of workflows, driven by the leader: what the model decides is done here, and told to the log."""
