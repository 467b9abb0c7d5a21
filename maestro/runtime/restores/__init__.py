"""Restores: workspaces and views brought back from a snapshot, an export or a time.

`open_origins` finds the snapshot that a user names and opens it as an `origin`; `past` folds the log to how things were
there. `planner` finds out what a restore would change, as a `plan`, which `dry_run` shows. `restore` carries a plan out
by a `procedure`: `halt` stops the agents, `journal` records what was begun, `conclusion` appends the outcome, `answer`
tells it. `crash_recovery` ends a restore that a crash broke off. `log_loader` loads the log of a snapshot into an empty
store first; `assignments` puts back assignments alone.
"""
