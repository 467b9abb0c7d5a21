"""What developers run: set-up, tests, benchmarks and chaos."""
