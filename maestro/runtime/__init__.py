"""The runtime: everything that does I/O for a daemon, its runs and the commands, in packages that form layers.

From the top, each package importing only from those below it: `client`, `daemon`, `handlers`, `monitor`, `restores`,
`snapshots`, `worker` and `scheduler`, `provision` and `server`, `node`, `protocol` and `supervision`.
"""
