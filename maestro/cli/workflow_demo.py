"""`maestro demo workflow`: one workflow that fails in one item, is taken up there, loops until green, and asks."""

from __future__ import annotations

import json

from maestro.cli.demo_story import TABLE, Story

DEFINITION = """\
name: "Check, mend, ship"
vars: {to: production}
steps:
  - id: parts                 # a list that is known only at run time
    run: echo '["api", "web", "docs"]'
  - id: check                 # an instance for each, side by side; one that fails stops no other
    needs: [parts]
    for_each: "{{ steps.parts.json }}"
    run: cat "$NOTES"/{{ item }}.md
    env: {NOTES: NOTES_FOLDER}
  - id: mend                  # an agent; a shell stands in for an AI here
    needs: [check]
    agent: builder
    prompt: "echo '{{ steps.check.items | length }} parts, round {{ round }}' | tee -a mended"
  - id: test                  # back to `mend` until this is green, three times at most
    needs: [mend]
    in: builder
    run: "test $(wc -l < mended) -ge 2 && echo '{\\"green\\": true}' || echo '{\\"green\\": false}'"
    again: {from: mend, until: steps.test.json.green, max: 3}
  - id: gate                  # a person decides; meanwhile nothing is occupied
    needs: [test]
    approval: {prompt: "Ship to {{ vars.to }}?", timeout: 24h, on_timeout: reject}
  - id: ship
    needs: [gate]
    run: echo shipped to {{ vars.to }}
result: "{{ steps.ship.output }}"
"""


def tell(story: Story) -> str:
    """The story; returns what to read next."""
    notes = story.place / "notes"
    notes.mkdir()
    story.say("A workflow is one file: steps, what each needs, and what it does")
    story.write("release.yaml", DEFINITION.replace("NOTES_FOLDER", json.dumps(str(notes))))
    story.run("agent", "assign", "builder", "--to-workspace", str(story.place / "work" / "builder"), *TABLE)
    story.run("workflow", "graph", "release.yaml")

    story.say("A run of it: the three checks run side by side; the notes of one part are missing, so it fails")
    story.shell("echo '# Api' > notes/api.md; echo '# Docs' > notes/docs.md")
    story.run("workflow", "run", "release.yaml", *TABLE, code=1)

    story.say("The notes are written, and a new run takes over what was done: of the checks only the failed one runs")
    story.shell("echo '# Web' > notes/web.md")
    run = story.answer("workflow", "run", "release", "--resume-from", "failed", "--async", "--quiet").split()[-1]
    story.until_it_asks(run)
    story.run("workflow", "status", run, *TABLE)

    story.say("The loop has turned until its test was green; now a person is asked")
    story.run("workflow", "approve", run, "gate", "--reason", "looks good", *TABLE)
    story.run("workflow", "wait", run, "--quiet", *TABLE)

    story.say("What each step waited for, was told, read and wrote, and when")
    story.run("workflow", "status", run, "--trace", *TABLE)
    return "`maestro help workflows`, a tutorial of ten minutes, and `maestro workflow run --help`"
