"""Supervision: launcher and wardens, the processes that start each run and guard it until nothing of it is left.

Imports the standard library and itself, nothing else: these processes start in milliseconds and stay small.
"""
