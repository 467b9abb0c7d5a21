"""The server: sockets, connections, and the rows and results that every client is answered with."""
