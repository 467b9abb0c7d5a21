"""Restores over several nodes: who asks for one, the leader that goes from step to step, and each node's part.

`asking` wishes for a planned restore and waits for its outcome. `course` is the leader's: it appends what
`model/coordination/restoration.py` decides. `restore_parts` does this node's part: verify, stage, exchange, and what is
pending at the next start. `archives` tells what can be put back, on whichever node it lies, and `room` whether it fits.
"""
