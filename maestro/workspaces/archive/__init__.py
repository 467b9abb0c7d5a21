"""The content-addressed archive of workspaces: incremental, deduplicated, verifiable, safe against a crash at any time.

A snapshot is a complete manifest; the chunks that it names, by SHA-256, lie in packs, each once. Rooms, from the
ground: `format` (what lies on the disk), `parallel` (threads and helper processes), `read`, `write`, `export`.
`library` is the one door to all of it.
"""
