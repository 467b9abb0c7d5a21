"""The content-addressed archive of workspaces: incremental, deduplicated, verifiable, safe against a crash at any time.

A snapshot is a complete manifest; what it names lies in packs, by SHA-256, once. Read it in this order: `entries`
(what a tree is), `packs` and `index` (where bytes lie), `saving`, `restoring`, `collecting`, `exporting`; `crew` and
`beside` are who does it all at the same time, in threads and processes; `library` is the one door to all of it.
"""
