"""The settings of a namespace: what may be set by an event, and what is in force."""
