"""Forks: a namespace whose log begins with the history of another one."""
