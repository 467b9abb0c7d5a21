"""The live screen of `maestro monitor start`: from a look at everything to lines, and from keys to what is shown."""
