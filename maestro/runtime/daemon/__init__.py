"""The daemon of a node: one nursery that puts all other rooms together, how it starts, and its housekeeping."""
