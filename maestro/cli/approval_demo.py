"""`maestro demo approval`: a workflow stops until a person answers; one run is approved, another one rejected."""

from __future__ import annotations

from maestro.cli.demo_story import TABLE, Story

DEFINITION = """\
name: Release
vars: {to: production}
steps:
  - id: build
    run: echo 3 parts
  - id: gate                  # waits for a person, and holds no agent and no place meanwhile
    needs: [build]
    approval: {prompt: "Ship {{ steps.build.output }} to {{ vars.to }}?", timeout: 24h, on_timeout: reject}
  - id: ship
    needs: [gate]
    run: echo shipped to {{ vars.to }}
result: "{{ steps.ship.output }}"
"""


def tell(story: Story) -> str:
    """The story; returns what to read next."""
    story.say("A workflow of three steps, of which the second asks a person; without an answer in a day it is a no")
    story.write("release.yaml", DEFINITION)
    story.say("It goes as far as it may")
    run = story.answer("workflow", "run", "release.yaml", "--async", "--quiet").split()[-1]
    story.until_it_asks(run)
    story.say("What waits for an answer; and why this run does not go on, since when, and what would let it")
    story.run("workflow", "runs", "--waiting", *TABLE)
    story.run("task", "explain", run, *TABLE)

    story.say("Yes: it goes on to its end")
    story.run("workflow", "approve", run, "gate", "--reason", "tests are green", *TABLE)
    story.run("workflow", "wait", run, "--quiet", *TABLE)

    story.say("Another run, and this time no: what needs the step is skipped, the run has failed, its exit code is 1")
    other = story.answer("workflow", "run", "release", "--param", "to=Mars", "--async", "--quiet").split()[-1]
    story.until_it_asks(other)
    story.run("workflow", "reject", other, "gate", "--reason", "not on a Friday", *TABLE)
    story.run("workflow", "wait", other, "--quiet", *TABLE, code=1)

    story.say("An answer stands: the same one again changes nothing, the opposite is refused with exit code 4")
    story.run("workflow", "reject", other, "gate", *TABLE)
    story.run("workflow", "approve", other, "gate", *TABLE, code=4)
    story.say("Who has changed their mind has a new run take over what was done, and is asked again")
    story.run("task", "explain", other, *TABLE)

    story.say("Who answered what, when and why: from the log")
    story.run("audit", "--type", "workflow_step.approved", *TABLE)
    return "`maestro help workflows`, and `maestro demo workflow` for lists, loops and resuming"
