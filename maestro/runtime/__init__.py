"""The shell around the core: everything that does I/O for a daemon, its runs and the commands, in rooms by floor.

From the top, each room importing only from those below it: `client`, `daemon`, `handlers`, `monitor`, `restores`,
`snapshots`, `worker` and `scheduler`, `provision` and `server`, `node`, `protocol` and `supervision`.
"""
