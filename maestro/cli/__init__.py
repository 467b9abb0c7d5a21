"""The command line: parse, call, print. One small file per command group."""
