"""Reading from an archive: restoring trees, verifying snapshots, scrubbing packs, saying what is damaged."""
