"""Handlers of monitors: the look at everything, alerts, deliveries, figures."""
