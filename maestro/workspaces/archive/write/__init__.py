"""Writing to an archive: scanning trees, reading changed files, storing chunks, garbage collection."""
