"""The daemon of a node: one nursery that runs the parts of all other packages, how it starts, and its housekeeping."""
