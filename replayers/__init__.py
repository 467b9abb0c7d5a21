"""Replayers: verify, rebuild, look back, diff, audit and export, all from the log alone."""
