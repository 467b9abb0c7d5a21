"""Replayers verify, rebuild, rewind, diff, audit, seal and export, all from the log alone."""
