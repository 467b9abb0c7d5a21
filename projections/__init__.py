"""Projections: pure folds of the log into the views that list, status and queue read."""
