"""The protocol between clients and servers: messages, their frames on a socket, and the commands. No trio, no store."""
