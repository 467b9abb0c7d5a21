"""The client: how a command line, or another program, finds a server, sends it a command and reads the answer."""
