"""Rows of lists at a position, as the commands print them, and what the inbox and a workflow graph show."""
