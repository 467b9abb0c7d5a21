"""Reading from an archive: restoring trees, verifying snapshots, scrubbing packs, reporting damage."""
