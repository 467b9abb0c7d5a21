"""The timeline: every view at any position, without folding the log from its start."""
