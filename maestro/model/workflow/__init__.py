"""Workflows: definitions, their templates, the instances of a run, and the pure decision of what happens next."""
