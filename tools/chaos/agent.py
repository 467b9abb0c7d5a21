"""The agent of chaos trials: locks its workspace, leaves a child behind, works for a while, exits with a given code.

    agent.py <workspace> <evidence folder> <seconds> <exit code>

It locks a file in its workspace; the child that it leaves behind in a session of its own inherits the lock. A second
agent that finds the lock held has met a live process of another run: it records that as an overlap. The file `history`
in the workspace gets a line from each run at its start, and one at its end: what a snapshot or a restore holds of it
tells as of which moment that is. Standard library only, started with -I -S, so that its start costs little.
"""

import fcntl
import os
import sys
import time


def main(workspace: str, evidence: str, seconds: str, code: str) -> int:
    """Lock, leave a child, sleep, and return the exit code."""
    run = os.environ["MAESTRO_RUN_ID"]
    lock = os.open(os.path.join(workspace, ".taken"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note(evidence, "overlap", f"{run} found {workspace} taken by {os.pread(lock, 200, 0).decode()}")
    os.ftruncate(lock, 0)
    os.pwrite(lock, run.encode(), 0)
    note(workspace, "history", f"+{run}")
    note(evidence, "started", run)
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
        os._exit(0)
    time.sleep(float(seconds))
    note(workspace, "history", f"-{run}")
    note(evidence, "ended", run)
    print(f"worked for {seconds} s")
    return int(code)


def note(folder: str, name: str, line: str) -> None:
    """Add a line to a file; short appends of several processes do not mix."""
    file = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, f"{line}\n".encode())
    os.close(file)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
