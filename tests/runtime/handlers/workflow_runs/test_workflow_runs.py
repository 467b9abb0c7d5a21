"""Runs of workflows, read, waited for and acted on: by the handlers themselves, on a real store, without a daemon."""

from __future__ import annotations

from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.model.workflow.decide import Work
from maestro.runtime.node.identity import node_id
from maestro.runtime.protocol import messages as p
from tests.runtime.handlers.workflow_runs.workflow_store import STEPS, Place, failed
from tests.runtime.leading import BAD, OK, Leader, commit


def test_runs_are_listed_newest_first_and_a_cut_list_says_so(place: Place) -> None:
    for number in range(3):
        place.lead(f"R{number}", workflow="deploy" if number else "review").go()
    done = place.ask(p.WorkflowRuns())
    assert [(row["id"], row["status"], row["workflow"]) for row in place.items()] == [
        ("R2", "running", "deploy"),
        ("R1", "running", "deploy"),
        ("R0", "running", "review"),
    ]
    assert done.cut is None
    done = place.ask(p.WorkflowRuns(workflow="deploy", status="running", limit=1))
    assert [row["id"] for row in place.items()] == ["R2"]
    assert done.cut is not None and done.cut.line() == "only 1 of 2 runs is shown; --limit 2 shows all"
    place.ask(p.WorkflowRuns(status="completed"))
    assert place.items() == []
    assert place.ask(p.WorkflowRuns(workflow="review", last=True)).data["id"] == "R0"
    assert failed(place, p.WorkflowRuns(workflow="revue")).exit_code == 3
    assert failed(place, p.WorkflowRuns(status="odd")).exit_code == 2


def test_a_run_is_shown_with_what_each_step_waits_for(place: Place) -> None:
    place.lead("01JRUN", ends={"build": [BAD, OK]}).go()
    data = place.ask(p.WorkflowStatus("01JR")).data
    told = {row["id"]: (row["status"], row["waiting_for"]) for row in data["steps"]}
    assert told == {
        "build": ("completed", None),
        "test[0]": ("completed", None),
        "test[1]": ("completed", None),
        "test[2]": ("completed", None),
        "ask": ("waiting", "approval"),
        "ship": ("waiting", "needs"),
    }
    assert data["steps"][-1]["needs"] == ["ask"]
    assert place.ask(p.WorkflowStatus(last=True)).data["id"] == "01JRUN"
    assert failed(place, p.WorkflowStatus("01JX")).exit_code == 3


def test_what_waits_for_an_answer_is_listed_with_what_it_asks(place: Place) -> None:
    place.lead("R1").go()
    place.lead("R2", keys={"steps": [{"id": "a", "run": "x"}]}).go()
    place.lead("R3", keys={"steps": [{"id": "c", "workflow": "w"}]}).go(lambda it: True)
    place.lead("R4", workflow="w", parent="R3", root="R3", instance="c").go()
    place.ask(p.WorkflowRuns())
    assert {row["id"]: row["waiting_for"] for row in place.items()} == {
        "R1": ["approval: ask"], "R2": [], "R3": ["approval: ask of run R4"]
    }  # fmt: skip
    place.ask(p.WorkflowRuns(waiting=True))
    assert [row["id"] for row in place.items()] == ["R3", "R1"]
    done = place.ask(p.WorkflowRuns(waiting=True, limit=1))
    assert done.cut is not None and done.cut.line() == "only 1 of 2 runs is shown; --limit 2 shows all"
    error = failed(place, p.WorkflowStatus("w"))  # it ran as a child only
    assert error.exit_code == 3


def test_where_a_run_is_read_a_workflow_is_its_newest_run(place: Place) -> None:
    for run, workflow in (("01JRUNA", "deploy"), ("01JRUNB", "deploy"), ("01JRUNC", "01JR")):
        place.lead(run, workflow=workflow, keys={"steps": [{"id": "a", "run": "x"}]}).go()
    assert place.ask(p.WorkflowStatus("deploy")).data["id"] == "01JRUNB"
    assert place.ask(p.WorkflowWatch("deploy")).data["id"] == "01JRUNB"
    assert place.ask(p.WorkflowWatch("")).data["id"] == "01JRUNC"
    assert place.ask(p.WorkflowStatus("01JR")).data["id"] == "01JRUNC"  # a whole id before the beginning of one
    place.ask(p.WorkflowWait(["deploy"]))
    assert [row["id"] for row in place.items()] == ["01JRUNB"]


def test_a_shutdown_is_what_all_waits_for(place: Place) -> None:
    node = node_id(place.settings.home)
    place.lead("R1", keys={"steps": [{"id": "a", "run": "x"}, {"id": "b", "run": "x"}]}).go(
        lambda it: "a" in it.run.working
    )
    joined = e.NodeJoined(node, "host", "i1", 1, 4, "b")
    commit(place.store, NewEvent(f"node:{node}", joined))
    assert place.ask(p.WorkflowStatus("R1")).data["idle"] is None
    commit(place.store, NewEvent(f"node:{node}", e.NodeHeld(node, "shutdown")))
    data = place.ask(p.WorkflowStatus("R1")).data
    assert data["idle"] == f"node {node} is held: shutdown"
    assert "is held: shutdown" in data["steps"][0]["reason"] or data["steps"][1]["reason"] == data["idle"]


def test_ambiguous_beginnings_name_the_candidates(place: Place) -> None:
    place.lead("01JRUNA")
    place.lead("01JRUNB")
    error = failed(place, p.WorkflowStatus("01JRUN"))
    assert error.exit_code == 2
    assert "01JRUNB (running: deploy)" in error.what


def test_the_trace_tells_what_was_waited_for_told_read_and_written(place: Place) -> None:
    leader = place.lead("R1")
    leader.go(lambda it: bool(it.run.working))
    task = leader.run.instances["build"].task
    run = f"{task}-0.1"
    commit(place.store, NewEvent(f"run:{run}", e.RunStarted(run, task, ".run", "north", "/r/1", "/w")))
    commit(place.store, NewEvent("state:port", e.StateSet("port", "8080", None)), actor=f"run:{run}")
    commit(place.store, NewEvent("state:other", e.StateSet("other", "1", None)), actor="cli:ann")
    leader.end("build", BAD, result="it broke", check="1 failed")
    leader.go()
    rows = place.ask(p.WorkflowStatus("R1", trace=True)).data["trace"]
    told = [(row["instance"], row["what"], row["waited_for"]) for row in rows]
    assert told[:8] == [
        (None, "run started", None),
        ("build", "ready", "needs"),
        ("build", "started", "slot"),
        ("build", "runs", "agent"),
        ("build", "wrote state", None),
        ("build", "failed", None),
        ("build", "started", "retry"),
        ("build", "completed", None),
    ]
    by = {row["what"]: row for row in reversed(rows) if row["instance"] == "build"}
    assert by["started"]["detail"]["told"] == "do build"
    assert by["wrote state"]["detail"] == {"key": "port", "value": "8080"}
    assert by["failed"]["detail"]["check"] == "1 failed"
    assert by["failed"]["detail"]["next"] == "another attempt"
    assert rows[-1]["detail"]["asks"] == "Ship it?"


def test_a_wait_ends_with_the_run_and_its_exit_code(place: Place) -> None:
    leader = place.lead("R1", ends={"ship": [BAD]}).go()
    ready = place.lead("R2", keys={"steps": [{"id": "a", "run": "x"}]}).go()
    assert ready.run.status == "completed"

    def approve(_: Place) -> None:
        leader.tell(e.StepApproved("R1", "ask", approved=True), actor="cli:ann")
        leader.go()

    done = place.ask(p.WorkflowWatch("R1", rows=True), approve)
    assert (done.exit_code, done.data["status"]) == (1, "failed")
    first, *later = place.items()
    assert first["whole"] and {row["id"] for row in first["steps"]} >= {"build", "test[0]", "ask", "ship"}
    assert {row["id"] for item in later for row in item["steps"]} == {"ask", "ship"}
    assert later[-1]["run"]["status"] == "failed"
    done = place.ask(p.WorkflowWait(["R2", "R1"]))
    assert [row["id"] for row in place.items()] == ["R2", "R1"]
    assert done.exit_code == 1
    error = failed(place, p.WorkflowWait([place.lead("R3").id], timeout_s=0.1))
    assert (error.exit_code, error.what) == (124, "not finished after 0.1 s: R3")


def test_the_exit_code_of_a_failed_run_is_that_of_the_agent(place: Place) -> None:
    bad = OK._replace(status="failed", outcome="exit", exit_code=7)
    place.lead("R1", ends={"build": [bad]}).go()
    assert place.ask(p.WorkflowWatch("R1")).exit_code == 7
    place.lead("R2", ends={"build": [OK._replace(status="failed", outcome="spawn_error")]}).go()
    assert place.ask(p.WorkflowWatch("R2")).exit_code == 1


def test_the_logs_of_a_step_that_is_not_there_propose_another(place: Place) -> None:
    place.lead("R1").go()
    error = failed(place, p.WorkflowLogs("R1", "tst"))
    assert (error.exit_code, error.mend) == (3, "did you mean 'test'?")
    error = failed(place, p.WorkflowLogs("R1", "test:99"))
    assert (error.exit_code, error.mend) == (3, "it has test[0], test[1], test[2]")


def printed(place: Place, leader: Leader, id: str, text: str) -> None:
    """The task of an instance has a run on this node, which has printed something and ended."""
    task = leader.run.instances[id].task
    run, folder = f"{task}-0.1", place.settings.home / task
    folder.mkdir()
    (folder / "agent.log").write_text(text)
    node = node_id(place.settings.home)
    facts = (
        e.RunReleased(run, task, 0, 1, ".run", node, 60.0, 1),
        e.RunStarted(run, task, ".run", node, str(folder), "/w"),
        e.RunEnded(run, task, ".run", "ok", 0),
    )
    commit(place.store, *(NewEvent(f"run:{run}", fact) for fact in facts))


def test_the_logs_of_several_steps_have_the_step_before_each_line(place: Place) -> None:
    steps = {"steps": [{"id": "a", "run": "x"}, {"id": "b", "run": "x"}, {"id": "c", "workflow": "w"}]}
    leader, child = place.lead("R1", keys=steps), place.lead("R2", keys=STEPS, parent="R1", instance="c")
    for step in "abc":
        leader.carry_out(Work("ready", step))
    for id, text in (("a", "one\ntwo"), ("b", "three\n")):
        leader.start(id)
        printed(place, leader, id, text)
    leader.tell(e.StepStarted("R1", "c", 1, child="R2"))
    child.go(lambda it: "build" in it.run.working)
    printed(place, child, "build", "four\n")
    place.ask(p.WorkflowLogs("R1"))
    text = "".join(frame.text for frame in place.sent if isinstance(frame, p.Output))
    assert text == "a: one\na: two\nb: three\nc/build: four\n"
    commit(place.store, NewEvent("workflow-run:R2", e.WorkflowRunPaused("R2")))  # a child is not the newest run
    place.ask(p.WorkflowLogs(None, "a", last=True))
    assert "".join(frame.text for frame in place.sent if isinstance(frame, p.Output)) == "one\ntwo"


def test_followed_logs_of_a_run_that_has_ended_are_in_order(place: Place) -> None:
    leader = place.lead("R1", keys={"steps": [{"id": name, "run": "x"} for name in "abcdef"]})
    leader.go(lambda it: len(it.run.working) == 6)
    for name in "abcdef":
        printed(place, leader, name, f"{name}\n")
        leader.end(name, BAD if name == "c" else OK)
    leader.go()
    texts = []
    for follow in (False, True):
        data = place.ask(p.WorkflowLogs("R1", follow=follow))
        texts.append("".join(frame.text for frame in place.sent if isinstance(frame, p.Output)))
        assert data.exit_code == 0
    assert texts[0] == texts[1] == "".join(f"{name}: {name}\n" for name in "abcdef")
    data = place.ask(p.WorkflowStatus("R1")).data
    assert {row["id"]: row.get("last_line") for row in data["steps"]} == {**dict.fromkeys("abdef"), "c": "c"}


def test_what_has_ended_before_is_told_in_order_though_the_run_goes_on(place: Place) -> None:
    leader = place.lead("R1", keys={"steps": [{"id": name, "run": "x"} for name in "abcdef"]})
    leader.go(lambda it: len(it.run.working) == 6)
    for name in "abcde":
        printed(place, leader, name, f"{name}\n")
        leader.end(name)

    def goes_on(_: Place) -> None:
        printed(place, leader, "f", "f\n")
        leader.end("f")
        leader.go()

    place.ask(p.WorkflowLogs("R1", follow=True), goes_on)
    text = "".join(frame.text for frame in place.sent if isinstance(frame, p.Output))
    assert text == "".join(f"{name}: {name}\n" for name in "abcdef")


def test_logs_are_followed_to_the_end_of_the_run(place: Place) -> None:
    leader = place.lead("R1", keys={"steps": [{"id": "a", "run": "x"}, {"id": "b", "run": "x", "needs": "a"}]})
    leader.go(lambda it: "a" in it.run.working)
    printed(place, leader, "a", "one\n")
    commit(place.store, NewEvent(f"task:{leader.run.instances['a'].task}", e.TaskFinished("R1T1", "completed", "ok")))

    def goes_on(_: Place) -> None:
        leader.end("a")
        leader.go(lambda it: "b" in it.run.working)
        printed(place, leader, "b", "two\n")
        leader.go()

    place.ask(p.WorkflowLogs("R1", follow=True), goes_on)
    assert "".join(frame.text for frame in place.sent if isinstance(frame, p.Output)) == "a: one\nb: two\n"


def test_a_run_is_explained_and_what_begins_a_task_as_well_is_refused_by_both_names(place: Place) -> None:
    place.lead("01JARUN", keys={"steps": [{"id": "ask", "approval": True}]}).go()
    place.lead("01JBRUN").go()
    dispatched = e.TaskDispatched("01JATASK", "p", "p", ("nobody",))
    commit(place.store, NewEvent("task:01JATASK", dispatched))
    for name in ("01JAR", "01JBRUN"):  # whose tasks begin so, too
        told = {one["step"]: one["reason"] for one in place.ask(p.TaskExplain(name)).data["reasons"]}
        assert told == {"ask": "approval"}
    (one,) = place.ask(p.TaskExplain("01JAT")).data["reasons"]
    assert (one["reason"], one["to_go_on"]) == ("agent_missing", "maestro agent assign TYPE --name nobody")
    error = failed(place, p.TaskExplain("01JA"))
    assert error.exit_code == 2 and "01JATASK" in error.what and "01JARUN" in error.what
