"""Tools of developers: set-up, tests, benchmarks and chaos."""
