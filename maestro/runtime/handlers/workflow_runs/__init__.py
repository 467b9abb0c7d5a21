"""Runs of workflows that were started: shown, waited for, watched, and what a person may do to them."""
