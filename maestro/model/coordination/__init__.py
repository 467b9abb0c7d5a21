"""What several nodes do together: whose turn it is, and what the leader decides next of it."""
