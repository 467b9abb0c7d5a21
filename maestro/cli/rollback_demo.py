"""`maestro demo rollback`: failsafe mode has workspaces go back after bad runs, and never over the work of a person."""

from __future__ import annotations

from maestro.cli.demo_story import TABLE, Story

TYPE = """\
slug: editor
mode: script
adapter: shell
failsafe: true        # or MAESTRO_FAILSAFE_MODE=true, for all types that say nothing
"""


def tell(story: Story) -> str:
    """The story; returns what to read next."""
    here = story.place / "work"
    story.say("An agent whose type is in failsafe mode, and its workspace; a shell stands in for an AI")
    story.write("agents.d/editor.yaml", TYPE)
    story.run("agent", "assign", "editor", "--to-workspace", str(here), *TABLE)
    story.until("the workspace is not made", here.is_dir)
    story.shell("cd work; mkdir book; echo 'Chapter one' > book/one.md; chmod 640 book/one.md; ls -lR")

    story.say("It deletes everything, writes something else, and fails")
    ruin = "rm -rf *; echo oops > notes; exit 3"
    story.run("task", "dispatch", ruin, "--to", "editor", "--sync", "--quiet", code=3)
    story.say("The workspace is exactly what it was: contents, modes, times. The task ended only after that")
    story.shell("cd work; ls -lR")

    story.say("What the run left was archived first, and the event names the archive: nothing is lost")
    story.run("audit", "agent:editor", *TABLE)
    failed = story.events("failsafe.returned")[-1]["failed"]
    story.run("state", "restore", failed, "--workspace", str(here), "--dry-run", *TABLE)

    story.say("Each attempt goes back before the next: this one fails once, half done, and the second starts afresh")
    flag = story.place / "tried"
    half = (
        f"ls; echo half > book/two.md; test -e {flag} || {{ touch {flag}; exit 1; }}; echo 'Chapter two' > book/two.md"
    )
    story.run("task", "dispatch", half, "--to", "editor", "--sync", "--retries", "1", *TABLE)
    story.shell("cat work/book/*.md")

    story.say("Now the daemon is killed in the middle of a run (kill -9), and a person writes into the workspace")
    task = story.dispatch("echo half > half.md; touch on; sleep 60", "--to", "editor", "--async")
    story.until("the run does not start", (here / "on").exists)
    story.kill_daemon()
    record = story.place / "runs" / "editor" / task / "attempts" / "1" / "exit.json"
    story.until("the run does not end with its daemon", record.exists)
    story.shell("echo 'mine' > work/of-a-person.md")
    story.say("The next daemon sees that: it puts nothing back over a person's work, and holds the agent")
    story.run("up", *TABLE)
    story.until("nothing is told of it", lambda: story.events("failsafe.kept"))
    story.until("the agent is not held", lambda: "failsafe: " in str(story.ask("agent", "list")))
    story.run("agent", "health", "editor", "--log-lines", "0", code=1)
    story.shell("ls work")

    story.say("Whoever has looked at it says how it goes on: here with what is there")
    story.run("task", "cancel", task, *TABLE)
    story.run("agent", "restart", "editor", *TABLE)
    story.run("task", "dispatch", "rm half.md on; ls", "--to", "editor", "--sync", "--quiet")
    story.shell("ls work")
    return "`maestro help monitoring`, its section on failsafe mode"
