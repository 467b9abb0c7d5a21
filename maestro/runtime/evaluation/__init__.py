"""Evaluates what a workflow's author, or an agent, has written: templates, JSON, schemas; in a process of its own."""
