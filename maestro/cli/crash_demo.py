"""`maestro demo crash`: the daemon is killed in the middle of a run; nothing works unseen, and the run ends once."""

from __future__ import annotations

from maestro.cli.demo_story import TABLE, Story

JOB = "echo $$ > pid; for part in one two three; do echo $part; sleep 0.6; touch $part; done"


def tell(story: Story) -> str:
    """The story; returns what to read next."""
    here = story.place / "work"
    story.say("An agent, and a task of three parts, which notes the id of its process")
    story.run("agent", "assign", "builder", "--to-workspace", "work", *TABLE)
    task = story.dispatch(JOB, "--to", "builder", "--async")
    story.until("the task does not come to its second part", (here / "one").exists)

    story.say("In its middle the daemon is killed: kill -9, as where memory runs out; it can tell nobody of it")
    story.kill_daemon()
    record = story.place / "runs" / "builder" / task / "attempts" / "1" / "exit.json"
    story.until("the run does not end with its daemon", record.exists)

    story.say("The agent has ended too, by the process that guards its run: nothing works where nobody sees it")
    story.shell("kill -0 $(cat work/pid) 2> /dev/null || echo the agent is gone; ls work")
    story.say("Lists need no daemon: the store is up, and as far as the log knows the run is on")
    story.run("task", "status", task, *TABLE)

    story.say("The next command that needs a daemon starts it. It finds the run, and the task is tried again")
    story.run("task", "wait", task, "--timeout", "60", *TABLE)
    story.run("task", "logs", task)

    story.say("From the log: each run was started once and has one end. `lost` is no fault of the agent's: no retry")
    story.run("audit", f"task:{task}", *TABLE)

    story.say("The proof: the chain of all events is whole, and every view is what these events fold to")
    story.run("replay", "verify", *TABLE)
    return "`maestro help operations`, and `maestro demo rollback` for the files of a run that was killed"
