"""The scheduler: one node of a namespace leads, decides what runs next, and watches the other nodes."""
