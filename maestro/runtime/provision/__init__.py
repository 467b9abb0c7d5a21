"""Provision: what a run needs before it starts, which is a workspace, a type bound to this machine, containment."""
