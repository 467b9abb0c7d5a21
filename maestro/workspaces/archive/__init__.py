"""The content-addressed archive of workspaces: incremental, deduplicated, verifiable, crash-safe at any time.

A snapshot is a complete manifest. The chunks that it names, by SHA-256, lie in packs, each chunk once. Packages, from
the lowest layer: `format` (the files on the disk), `parallel` (threads and child processes), `read`, `write`, `export`.
`library.Archive` is the public interface to all of them.
"""
