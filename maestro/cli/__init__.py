"""The command line: parses arguments, sends a command, prints the answer. One small file per command group."""
