"""Provision of runs: a workspace, a type bound to this machine's programs, and containment, before a run starts."""
