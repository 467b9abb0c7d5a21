"""The model, which is pure: events, aggregates, the scheduler's decisions. No I/O, no clock, no randomness."""
