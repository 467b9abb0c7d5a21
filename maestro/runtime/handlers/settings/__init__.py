"""Handlers of the settings of the namespace."""
