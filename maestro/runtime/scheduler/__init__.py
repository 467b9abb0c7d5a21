"""The scheduler: the daemon of one node leads its namespace, decides what runs next, and watches the other nodes."""
