"""The store in memory: the reference implementation, with which tests compare the store on a server."""
