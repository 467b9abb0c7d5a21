"""`maestro demo`: agents, and tasks that depend on each other; from the dispatch to the proof of the log."""

from __future__ import annotations

import shlex

from maestro.cli.demo_story import MAESTRO, TABLE, TYPES, Story


def tell(story: Story) -> str:
    """The story; returns what to read next."""
    story.say("Three agents, each in a workspace of its own; their node and its store start by themselves")
    for urgency, slug in enumerate(TYPES, 1):
        workspace = str(story.place / "work" / slug)
        story.run("agent", "assign", slug, "--to-workspace", workspace, "--priority", str(urgency), *TABLE)

    story.say(
        "Five tasks: build after design, test after build; of two more for the designer the urgent one goes first"
    )
    maestro = shlex.join(MAESTRO)
    plan = f"sleep 1; echo 'an API on port 8080' | tee plan.md; {maestro} state set api_port 8080 --ttl 1h >/dev/null"
    design = story.dispatch(plan, "--to", "designer")
    binary = story.place / "work" / "builder" / "api.sh"
    build = story.dispatch(
        "printf 'echo pong\\n' > api.sh; echo built api.sh", "--to", "type:builder", "--depends-on", design
    )
    test = story.dispatch(f'test "$(sh {binary})" = pong; echo 1 passed', "--to", "tester", "--depends-on", build)
    story.dispatch("echo tidied up", "--to", "designer", "--priority", "5")
    story.dispatch("echo hot fix drawn", "--to", "capability:designer", "--priority", "1")

    story.say("What waits, and for what")
    story.run("queue", "status", *TABLE)

    story.say("Real processes do the work; this waits for the last of the three that depend on each other")
    story.run("task", "wait", design, build, test, "--timeout", "120", *TABLE)
    story.run("task", "logs", test)

    story.say("The designer left a value for all, from inside its run")
    story.run("state", "get", "api_port", "--raw")

    story.say("One more, and this time we wait for its end; the exit code would be the agent's")
    story.run("task", "dispatch", "echo released", "--to", "builder", "--sync", *TABLE)
    story.run("task", "list", *TABLE)

    story.say("Who did what, when and why: from the log")
    story.run("audit", f"task:{test}", *TABLE)

    story.say("The proof: every event checked against the chain, every view folded again and compared")
    story.run("replay", "verify", *TABLE)
    return "`maestro demo workflow`, `maestro agent assign --help` and `maestro task dispatch --help`"
