"""The Python client: what commands do, for programs, over the daemon's socket. `maestro.connect` is its door."""
