"""Exports: writing and reading one snapshot as one tar.gz, which can be verified without the archive."""
