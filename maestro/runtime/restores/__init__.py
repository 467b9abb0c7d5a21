"""Restores: workspaces and views brought back from a snapshot, an export or a time.

`origins` opens what a user named as an `origin`; `past` folds how things were there. `planner` finds out what would
happen, as a `plan` that `dry_run` shows. `restore` and `procedure` do it, `journal` records what was begun,
`conclusion` appends the outcome, and `crash_recovery` ends what a crash left. `log_loader` fills an empty log first;
`assignments` puts back assignments alone.
"""
