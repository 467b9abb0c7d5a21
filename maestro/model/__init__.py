"""The pure core: events, aggregates, the scheduler's decisions. No I/O, no clock, no randomness."""
