"""Work in parallel: threads, and helper processes around the interpreter's lock."""
