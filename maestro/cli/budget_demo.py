"""`maestro demo budget`: an agent that spends too much is ended; a workflow that does is paused until it gets more."""

from __future__ import annotations

import json

from maestro.cli.demo_story import TABLE, Story

WRITER = """\
#!/bin/sh
# Stands in for an AI: a verse costs 0.25, and it says so as it goes. $1: how many verses.
verse=0
while [ $verse -lt "$1" ]; do
  verse=$((verse + 1))
  echo "verse $verse"
  echo "used 900 in, 100 out, cost 0.25"
  sleep 0.3
done
echo "$verse verses" >> poem
"""
TYPE = """\
slug: writer
mode: script
bin: {bin}
argv: ["{{bin}}", "{{prompt}}"]
prompt: {{via: arg}}
output:
  format: text
  usage: {{pattern: 'used (?P<input>[0-9]+) in, (?P<output>[0-9]+) out, cost (?P<cost>[0-9.]+)'}}
budget: {{cost: 1.00}}            # of one run
"""
BOOK = """\
name: "A book of three chapters"
budget: {cost: 1.20, on_exceeded: pause}   # of the whole run
steps:
  - {id: one, agent: writer, prompt: "3"}
  - {id: two, agent: writer, prompt: "3", needs: [one]}
  - {id: three, agent: writer, prompt: "3", needs: [two]}
"""


def tell(story: Story) -> str:
    """The story; returns what to read next."""
    program = story.place / "writer"
    program.write_text(WRITER)
    program.chmod(0o755)
    story.say("An agent that tells what it uses. Its type says how that is told, and what one run may cost")
    story.write("agents.d/writer.yaml", TYPE.format(bin=json.dumps(str(program))))
    story.run("agent", "assign", "writer", "--to-workspace", str(story.place / "work" / "writer"), *TABLE)

    story.say("Two verses cost 0.50, which is within its budget")
    story.run("task", "dispatch", "2", "--to", "writer", "--sync", *TABLE)

    story.say("Fifty verses would cost 12.50: it is ended as soon as it has told more than 1.00; the exit code is 1")
    story.run("task", "dispatch", "50", "--to", "writer", "--sync", *TABLE, code=1)

    story.say("A workflow has a budget of its own. Each chapter costs 0.75, the book may cost 1.20")
    story.write("book.yaml", BOOK)
    run = story.answer("workflow", "run", "book.yaml", "--async", "--quiet").split()[-1]
    story.until("the run is not paused", lambda: story.ask("workflow", "status", run).get("paused"))
    story.say("After the second chapter it was too much: what worked has ended, and nothing new starts")
    story.run("workflow", "status", run, *TABLE)

    story.say("Somebody should know: two alerts, each with the command that helps. A monitor shows and sends them")
    story.until("there is no alert", lambda: _alerts(story) >= 2)
    story.run("monitor", "alerts", *TABLE)

    story.say("To go on, the run needs more than it has spent: without, this is refused with exit code 4")
    story.run("workflow", "resume", run, *TABLE, code=4)
    story.run("workflow", "resume", run, "--add-budget", "cost=2", *TABLE)
    story.run("workflow", "wait", run, "--quiet", *TABLE)

    story.say("What each agent has used")
    story.run("agent", "list", "--usage", *TABLE)

    story.say("When it was paused, and who let it go on: from the log")
    for what in ("paused", "resumed"):
        story.run("events", "tail", "--type", f"workflow_run.{what}", *TABLE)
    return "`maestro monitor start`, `maestro help monitoring` and `maestro help agent-types`"


def _alerts(story: Story) -> int:
    """How many alerts of budgets are open."""
    return sum(str(row["id"]).startswith("over_budget:") for row in story.ask("monitor", "alerts"))
