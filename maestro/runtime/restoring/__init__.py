"""Going back: from a snapshot, an export or a time to workspaces and views as they were.

`origins` and `opening` open what is restored from, `past` tells how things were, `planning` says what would happen and
`previews` shows it. `carrying` and `placing` do it, `journal` remembers what was begun, `concluding` tells the log, and
`recovery` ends what a crash left. `loading` fills an empty log first, `assigning` puts back assignments alone.
"""
