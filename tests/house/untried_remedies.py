"""The remedies that no test walks, each with the reason; see `remedies.py`."""

from __future__ import annotations

UNTRIED = {
    "start it with `maestro board --allow-actions`": "the tests of the board's acts see it, and start such a one",
    "see `maestro help board`": "the tests of the board's acts see it; a document",
    "`maestro help board` tells what it has": "a document",
    "maestro board: {}\n": "no remedy: the beginning of a line that a browser shows",
    "`maestro workspace list` shows what lies there": "a list",
    "open the address that `maestro board` has printed": "the tests of the board's guard walk it",
    "`maestro up` starts the daemon of this node, which asks it": "the tests of the board's runs see it",
    "there: maestro task logs {}": "to be typed on another node",
    "`maestro help workflows`, and `maestro demo workflow` for lists, loops and resuming": "the end of a demo",
    "`maestro help operations`, and `maestro demo rollback` for the files of a run that was killed": "ends a demo",
    "maestro demo {} {}": "the list of demos",
    "{}; to answer: maestro task answer {} allow (or reject)": "the tests of permissions walk it",
    "to answer the agent of {}: maestro task answer {} allow (or reject)": "the tests of permissions walk it",
    "the daemon of this node has ended: its events go on when it is up again (maestro up)": (
        "the test of the client that follows walks it"
    ),
    "maestro task status {} shows its runs": "says where to look, in the tests of permissions",
    "name one folder that all nodes reach with MAESTRO_SEGMENTS_DIR, then restart the daemons with `maestro shutdown`"
    " and `maestro up`; `maestro node forget N` gives up a node that is gone": "a setting of several nodes, too",
    "start its daemon there (maestro up), or give it up: maestro node forget {}": "the tests of lost nodes walk both",
    "maestro monitor alerts says what helps": "a list, which names the command of each",
    "a new dispatch of both: maestro task dispatch; task {} is history, which nothing tries again": (
        "the tests of explanations reach it"
    ),
    "and it is drained, too: maestro node drain {} --undo": "the tests of explanations reach it",
    "and start its daemon there (maestro up)": "the tests of explanations reach it",
    "maestro agent assign {} --name {}": "the tests of forwards see it",
    "agent {} takes nothing until `maestro node drain {} --undo`": "the tests of forwards walk it",
    "{}, until `maestro node drain {} --undo`": "the tests of failover see it",
    "waits until `maestro node drain {} --undo`, and goes on then,": "the tests of drains walk its two halves",
    "or, to go on elsewhere, maestro agent assign {} --from-snapshot newest --node <node>": (
        "the tests of assignments and of awaited nodes say it; failover walks it"
    ),
    "maestro agent assign {} --name {} --node {} --to-workspace <folder>": (
        "the tests of assignments and of awaited nodes say it; failover walks it"
    ),
    "maestro agent assign {} --from-snapshot newest --node {}": (
        "the tests of assignments and of awaited nodes say it; failover walks it"
    ),
    "start its daemon there (maestro up); or go on here: {} with what it had, {} without": (
        "the tests of assignments and of awaited nodes say it; failover walks it"
    ),
    "maestro state verify --copies   # on host {}": "the test of the shared archive mends a copy by it",
    "maestro state verify --all reads its own": "names the command that was meant",
    "the store went away meanwhile: {}; maestro audit {} shows what became of it": "needs a store away for a minute",
    "`maestro state verify --copies` mends what this node's own archive holds whole; take a snapshot of what is still "
    "there; to give a damaged one up, remove its file in the folder `manifests` of the shared archive": (
        "the test of the shared archive mends a copy by it, and removes such a file"
    ),
    "interrupted; the restore is decided: maestro state restore {} undoes it": "a note, no refusal",
    "maestro node drain {} --undo": "the tests of drains walk it",
    "maestro agent assign {} --from-snapshot newest --node NODE": "the tests of failover and of the archive walk it",
    "it is on node {}, which is away (there: maestro up; to go on elsewhere: {})": "a node whose lease has run out",
    "see `maestro task dispatch --help`": "help, no refusal",
    "interrupted; node {} may go on with it: maestro audit {}": "needs a store that goes away at that moment",
    "name the agent: maestro agent assign ID --from-snapshot newest": "names the command that was meant",
    "maestro state restore <snapshot> --workspace {} puts it back": "the tests of restores walk it",
    "maestro node drain {} has it leave first": "the tests of drains and of moves walk its two halves",
    "node {} finishes {}, then its daemon ends: maestro node list shows it": "a note, no refusal",
    "start the daemon of node {} (maestro up), or begin with an empty workspace: {}": "needs an archive out of reach",
    "maestro state snapshots lists others": "a list of what --from-snapshot takes",
    "maestro agent register {}": "a definition is resolved before it gets there; the error guards against a defect",
    "maestro shutdown, then again": "needs a daemon that does not end for a minute",
    "see its log; end it, and run `maestro up`": "needs a daemon that stands still",
    "stop it first: maestro agent stop {}": "a reset stops it first: the error is for who starts it in between",
    "maestro agent logs {} --follow shows what it prints, maestro task cancel {} ends it": (
        "needs a run that prints nothing for half an hour"
    ),
    "maestro node list shows its node: see that the daemon there is up, and not stopped": (
        "needs a daemon that stands still for a minute"
    ),
    "maestro queue status --agent {} says what each task waits for": "needs a task that waits for half an hour",
    "maestro agent list shows why; --force overrides health": "needs an agent whose checks fail",
    "stop it: maestro agent stop {} --force": "needs a run that cannot be frozen",
    "maestro agent stop <id> --force": "needs a run that outlives a restore",
    "interrupted; task {} goes on: maestro task wait {}, or maestro task cancel {}": "a note, no refusal",
    "leave it out: maestro task wait, with the ids that --quiet prints, waits for them": "names the command that waits",
    " (the last {} of {} lines: maestro task result {})": "a note, no refusal",
    "interrupted; {} on: maestro task wait {}": "a note, no refusal",
    "maestro state restore {} --workspace {}": "the undo of a reset: the snapshots' tests run it",
    "the node copies it there when it has taken it: see that it runs, and `maestro doctor` there": (
        "a copy that is under way on another node"
    ),
    "update Maestro there, or end its daemon there by `maestro shutdown`; this node runs {}": (
        "needs a node of an older release: its own test forges one"
    ),
    "set MAESTRO_ARCHIVE_URL as on the other nodes, or unset it there too (`maestro node forget N` gives up one that is"
    " gone); then restart the daemon with `maestro shutdown` and `maestro up`": "a setting of several nodes, too",
    "name the archive that the other nodes have with MAESTRO_ARCHIVE_URL, or unset it on all nodes; then restart the"
    " daemon with `maestro shutdown` and `maestro up`": "a setting of several nodes: the archive's tests change it",
    "maestro node list shows all": "a node that is there is this one, to which an assignment needs no --node",
    "maestro workspace list shows all": "a list of what `state snapshot --workspace` takes",
    "maestro audit without a subject shows all": "a list of all there is",
    "agent {} is held (maestro agent health {} says the way out)": "part of the end of a run; failsafe's tests read it",
    "maestro events schema lists them": "a schema, no list of names to try again with",
    "`maestro demo workflow`, `maestro agent assign --help` and `maestro task dispatch --help`": "an invitation",
    "`maestro help workflows`, a tutorial of ten minutes, and `maestro workflow run --help`": "an invitation",
    "did you mean `maestro demo {}`?": "the demo's own test runs them",
    "`maestro help {}`": "a document",
    "maestro workflow create {} --definition {}": "the same command, with the file where it belongs",
    "maestro state snapshot {}": "as `maestro state snapshot`, without the workspaces of other nodes",
    "maestro doctor lists those that get nothing": "a list; `test_alerts.py` walks from there",
    "sleep 1; echo 'an API on port 8080' | tee plan.md; {} state set api_port 8080 --ttl 1h >/dev/null": "a demo's",
    "{}; maestro task wait {} waits for it": ("a wait for as long as a node is away"),
    "use another snapshot: `maestro state snapshots` lists all": ("a list"),
    "name the tar.gz that `maestro state snapshot --output` wrote": ("names a file, no command to run now"),
    "see whether it took effect before you repeat it: maestro audit": ("shows what became of an append"),
    "maestro task status": ("shows whether a command took effect that was not confirmed"),
    "maestro agent list": ("shows whether a command took effect that was not confirmed"),
    "maestro workspace list": ("shows whether a command took effect that was not confirmed"),
    "maestro state snapshots": ("shows whether a command took effect that was not confirmed"),
    "maestro audit": ("shows whether a command took effect that was not confirmed"),
    "maestro doctor": ("shows whether a command took effect that was not confirmed"),
    "`maestro help \\1`": ("a link of a document, as a terminal shows it"),
    "`maestro help TOPIC` shows one; `maestro --help` lists the commands.": ("the end of a list, no refusal"),
    "no workflows: maestro workflow create stores one": "an empty list, no refusal",
    "write at least one step; maestro help workflows has examples": "a document",
    "maestro workflow runs {}": "a list",
    "nothing goes on: {}; to go on: maestro up": "a note, no refusal",
    "to see all of it: maestro workflow logs {} {}": "a note, no refusal",
    "to go on from what failed: maestro workflow run {} --resume-from failed --run {}": "a note, no refusal",
    "maestro workflow status": ("shows whether a command took effect that was not confirmed"),
    "it has not ended yet: maestro workflow wait {}": (
        "a note; needs a step that outlives a stop for ten seconds; the walks of runs wait by id"
    ),
    "maestro task list": ("shows whether a command took effect that was not confirmed"),
    "maestro agent health {}": "says what to do about each check",
    "maestro up   # on host {}": "for another host: as `start the daemon of its node (maestro up)`",
    "maestro doctor   # on host {}": "for another host: names what is short of room",
    "maestro queue status --waiting": "says what each task waits for",
    "maestro queue status --processing": "says what runs, and so spends",
    "maestro workflow resume {}": "the walk of a budget that is used up follows it out of its alert",
    "maestro workflow run {} --resume-from failed --run {}": "the walks of runs resume so",
    "maestro workflow status {}   # then: {}": "shows a run before the command behind it",
    "maestro state snapshot": "a success of it is what ends the alert: `test_alert_rules.py`",
    "maestro replay rebuild   # then: maestro replay verify": "the views' tests damage them, and build them anew so",
    "`maestro monitor start`, as a service; `maestro monitor alerts` lists what was raised": (
        "an invitation of doctor: a monitor that runs ends it, `test_alerts.py`"
    ),
    "maestro monitor start --alert-webhook URL": (
        "a monitor that is started for it again ends the alert: `test_alert_rules.py`"
    ),
    "maestro monitor alerts --all": "a list",
    "maestro schedule run {}": "a later firing that ends well is what ends the alert: `test_alert_rules.py`",
    "`maestro monitor start`, `maestro help monitoring` and `maestro help agent-types`": "an invitation",
    "`maestro help monitoring`, its section on failsafe mode": "an invitation",
    "no agent: maestro agent assign makes one": "an empty list of the screen, no refusal",
    "maestro queue status": "a list, where the screen has no room for all",
    "maestro workflow runs": "a list, where the screen has no room for all",
    "maestro monitor alerts": "a list, where the screen has no room for all",
    "maestro node list": "a list, where the screen has no room for all",
    "maestro monitor ack {}": "a column of the screen: `test_alerts.py` acknowledges",
    "no daemon runs on this node: maestro up starts it": "the screen's own test starts it so",
    "{} {} not arrived: maestro monitor alerts --undelivered": "a list",
    "use one that holds it: `maestro state snapshots` lists all, those before runs have the reason failsafe": "a list",
}
"""Remedies that no test walks, and why."""
