"""The store in memory: the reference that tests compare the one on a server with."""
