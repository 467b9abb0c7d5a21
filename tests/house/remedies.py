"""The remedies that the code names: each text that tells a user to run a command of Maestro, found in the source.

A remedy names its command as `maestro <command>`, or as `<group> <command>` (`task list shows all`). Placeholders of a
text are `{}`. Docstrings, help, examples and the tags of the protocol are no remedies. The walks are in
`tests/runtime/handlers/test_ways_out.py`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("maestro", "projections", "replayers")
GROUPS = {
    "agent": "register|assign|list|health|stop|restart|reset|logs|types",
    "task": "dispatch|status|result|list|wait|logs|cancel|retry",
    "state": "set|get|list|delete|snapshot|snapshots|verify|pin|unpin|restore|rollback",
    "replay": "verify|rebuild|at|diff",
    "events": "tail|export|schema",
    "node": "list",
    "workspace": "list|clean",
    "queue": "status",
    "workflow": "create|run|list|show|diff|delete|runs|status|wait|logs|stop|pause|resume|approve|reject|validate|graph"
    "|schema|enable|disable",
    "redis": "flush",
}
NAMED = "|".join(rf"{group} (?:{commands})" for group, commands in GROUPS.items())
ALONE = "audit|config|demo|doctor|help|shutdown|state|up|worker"
REMEDY = re.compile(rf"\b(?:maestro (?:{NAMED}|{ALONE})\b|(?!workflow runs?\b)(?:{NAMED})\b)")
"""`workflow run` alone is what it is called, no command."""
NO_REMEDY = {"examples", "Typer", "Argument", "Option", "command", "COMMANDS"}  # the last: with their examples


def remedies(top: Path) -> dict[str, str]:
    """Text -> where it stands first, of all remedies below a folder."""
    found: dict[str, str] = {}
    for folder in FOLDERS:
        for path in sorted((top / folder).rglob("*.py")):
            if "commands" in path.parts:
                continue
            for line, text in _texts(ast.parse(path.read_text())):
                if REMEDY.search(text) and not re.fullmatch(NAMED, text) and '{"' not in text:
                    found.setdefault(text, f"{path.relative_to(top)}:{line}")
    return found


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        elif isinstance(node, ast.Call | ast.AnnAssign) and _subject(node) in NO_REMEDY:
            skipped |= {id(part) for part in ast.walk(node)}
        elif isinstance(node, ast.keyword) and node.arg in ("tag", "help", "epilog"):
            skipped |= {id(part) for part in ast.walk(node.value)}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                skipped |= {id(part) for part in ast.walk(decorator)}
        elif isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield node.lineno, "".join(parts)


def _subject(node: ast.Call | ast.AnnAssign) -> str:
    """What is called, or assigned."""
    return _name(node.func if isinstance(node, ast.Call) else node.target)


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


ELSEWHERE = {
    "find out what the store lost, then `maestro doctor --accept-loss`": (
        "tests/runtime/daemon/test_losses.py::test_a_store_without_its_tail_stops_the_daemon_until_the_loss_is_accepted"
    ),
    "stop, find out what the store lost, then `maestro doctor --accept-loss`": (
        "tests/store/redis/test_healing.py::test_what_is_left_of_a_damaged_log_is_made_one_whole_log"
    ),
    "a process inside a run may use `maestro state` only": (
        "tests/cli/test_exit_codes.py::test_inside_a_run_only_state_is_offered"
    ),
    "a process inside a run may use `maestro state set|get|list|delete` only": (
        "tests/runtime/provision/test_containment_bubblewrap.py::test_state_works_from_inside_and_the_other_commands_do_not"
    ),
    "see with `maestro doctor` that keys are not evicted, and that nobody else writes to this namespace": (
        "tests/runtime/handlers/test_doctor.py::test_a_store_that_is_unsafe_is_told_with_what_is_right_about_it"
    ),
    "start its daemon there (maestro up), or name another": (
        "tests/runtime/scheduler/test_lost_nodes.py::test_a_node_that_is_back_has_its_agents_healthy_and_no_run_has_ended_twice"
    ),
    "agent assign {} --name {} --to-workspace": (
        "tests/runtime/provision/test_vanished_workspaces.py::test_assigning_it_again_makes_it_anew"
    ),
    "start the daemon of its node (maestro up), or move the agent: {} <folder> --node <node>": (
        "tests/runtime/scheduler/test_lost_nodes.py::test_its_work_goes_on_where_its_user_moves_it"
    ),
    "{} {} takes or makes it anew, state restore <snapshot> --workspace {} brings it back": (
        "tests/runtime/provision/test_vanished_workspaces.py::test_a_restore_brings_it_back"
    ),
    "stop that run there (agent stop), then run this again": (
        "tests/runtime/provision/test_placements.py::test_what_another_home_writes_is_neither_emptied_nor_replaced"
    ),
    "maestro agent assign {} --name {} --to-workspace {}": (
        "tests/runtime/restores/test_restores_foreign.py::test_assignments_that_are_put_back_take_nobodys_folder"
    ),
    "maestro state restore {}": (
        "tests/runtime/restores/test_undo.py::test_agents_that_a_restore_took_away_come_back_to_their_folders"
    ),
    "Only a snapshot brings them back: `maestro state snapshot --output X.tar.gz` takes one.\n": (
        "tests/runtime/snapshots/test_snapshots_kept.py::test_what_was_taken_for_a_file_is_never_latest_and_expires_whatever_the_log_knows"
    ),
    "maestro state restore {} --workspace {} --replace-foreign {}": (
        "tests/runtime/restores/test_restores_foreign.py::test_a_forged_export_replaces_a_folder_only_where_a_user_names_it_exactly"
    ),
    "it ends with the next start: maestro up": (
        "tests/runtime/restores/test_restores_broken_off.py::test_where_one_workspace_is_new_the_restore_is_done_and_the_lost_one_is_named"
    ),
    "maestro agent restart {}": (
        "tests/runtime/restores/test_restores_broken_off.py::test_one_workspace_alone_that_is_lost_is_brought_back_by_the_command_that_its_agent_names"
    ),
    "take a snapshot: it keeps anew what is still in the workspaces; put a copy of the pack back and run `maestro state verify --all`; `maestro state restore ID --skip-failed` brings back what is whole; to give a snapshot up, remove its file in {manifests}": (  # noqa: E501
        "tests/runtime/snapshots/test_damaged_snapshots.py::test_it_is_found_by_the_scrub_told_and_mended_by_the_next_snapshot"
    ),
    "maestro state verify --all reads all of it now; a daemon that runs does so by itself": (
        "tests/runtime/snapshots/test_damaged_snapshots.py::test_all_of_it_is_verified_at_once_where_that_is_asked_for"
    ),
    "the next snapshot keeps anew what of it is still in a workspace, --skip-failed restores the rest, and `maestro state verify --all` proves a copy of the pack that was put back": (  # noqa: E501
        "tests/runtime/snapshots/test_damaged_snapshots.py::test_what_is_whole_comes_back_and_the_rest_is_listed"
    ),
    "node list shows its node: start the daemon there (maestro up), or wait until it is taken for lost": (
        "tests/runtime/scheduler/test_lost_nodes.py::test_a_cancel_ends_what_ran_there"
    ),
    "{}: maestro agent register {} takes it": (
        "tests/runtime/handlers/test_odd_commands.py::test_an_edit_of_a_definition_is_told_by_a_dispatch_and_taken_by_register"
    ),
    "is {}: maestro agent restart {} takes it": (
        "tests/runtime/handlers/test_odd_commands.py::test_a_stopped_agent_takes_its_edited_definition_when_it_is_restarted"
    ),
    "is on node {}: maestro agent register {}, there, takes it": (
        "tests/runtime/handlers/test_odd_commands.py::test_an_agent_of_another_node_is_left_as_it_is"
    ),
    "maestro agent logs {} --lines {} shows all of them": (
        "tests/runtime/handlers/test_odd_commands.py::test_a_log_of_which_health_shows_a_part_says_so"
    ),
    "did you mean `maestro help {}`?": "tests/cli/test_help.py::test_an_unknown_topic_is_told_with_the_nearest_one",
    "`maestro help` lists the topics": "tests/cli/test_help.py::test_the_remedy_lists_the_topics",
    "start its daemon there (maestro up), or assign the agent to another node": (
        "tests/runtime/handlers/test_odd_commands.py::test_a_dispatch_to_an_agent_whose_node_was_shut_down_says_what_it_waits_for"
    ),
    "maestro up: the daemon has all of it written again": (
        "tests/runtime/daemon/test_cleaners.py::test_an_embedded_store_whose_files_are_removed_writes_them_again"
    ),
    "what it holds is in its memory only: maestro state snapshot --output FILE, then maestro shutdown, maestro redis flush, maestro state restore FILE": (  # noqa: E501
        "tests/runtime/daemon/test_cleaners.py::test_an_embedded_store_whose_folder_is_removed_says_so_and_the_way_out_leads_out"
    ),
    "task {} ({}) has no final text; maestro task logs {} shows its output": (
        "tests/runtime/handlers/test_tasks_in_hand.py::test_results_are_printed_whole_and_as_they_are"
    ),
    "maestro task wait {} waits for its end": (
        "tests/runtime/handlers/test_tasks_in_hand.py::test_results_are_printed_whole_and_as_they_are"
    ),
    "maestro task retry {} --with-dependants": (
        "tests/runtime/handlers/test_tasks_in_hand.py::test_a_retry_offers_what_was_skipped_for_it"
    ),
    "store it: maestro workflow create NAME --definition FILE, then maestro workflow run NAME": (
        "tests/runtime/handlers/test_workflow_starts.py::test_a_file_is_stored_first_under_its_stem"
    ),
    "assign one: maestro agent assign, with {}": (
        "tests/runtime/handlers/test_workflow_definitions.py::test_who_is_missing_is_assigned_and_what_is_missing_stored_as_the_error_says"
    ),
    "maestro workflow create {} --definition FILE": (
        "tests/runtime/handlers/test_workflow_definitions.py::test_who_is_missing_is_assigned_and_what_is_missing_stored_as_the_error_says"
    ),
    "maestro workflow create {} --definition FILE stores it again": (
        "tests/runtime/handlers/test_workflow_definitions.py::test_a_deleted_workflow_keeps_its_history_and_its_numbers"
    ),
    "maestro workflow stop {} ends them": (
        "tests/runtime/handlers/test_workflow_starts.py::test_a_busy_group_refuses_where_it_says_so_and_names_the_run"
    ),
    "maestro workflow wait {}, or maestro workflow stop {}": (
        "tests/runtime/handlers/test_workflow_starts.py::test_a_busy_group_refuses_where_it_says_so_and_names_the_run"
    ),
    "start anew: maestro workflow run {}": (
        "tests/runtime/handlers/test_workflow_resumptions.py::test_what_it_takes_over_must_be_there"
    ),
}

"""Remedies that another test walks."""

UNTRIED = {
    "see `maestro task dispatch --help`": "help, no refusal",
    "maestro agent register {}": "a definition is resolved before it gets there; the error guards against a defect",
    "maestro shutdown, then again": "needs a daemon that does not end for a minute",
    "see its log; end it, and run `maestro up`": "needs a daemon that stands still",
    "stop it first: agent stop {}": "a reset stops it first: the error is for who starts it in between",
    "agent health {}; --force overrides": "needs an agent whose checks fail",
    "agent list shows why; --force overrides health": "needs an agent whose checks fail",
    "stop it: agent stop {} --force": "needs a run that cannot be frozen",
    "agent stop <id> --force": "needs a run that outlives a restore",
    "interrupted; task {} goes on: maestro task wait {}, or maestro task cancel {}": "a note, no refusal",
    "leave it out: maestro task wait, with the ids that --quiet prints, waits for them": "names the command that waits",
    " (the last {} of {} lines: maestro task result {})": "a note, no refusal",
    "interrupted; {} on: maestro task wait {}": "a note, no refusal",
    "maestro state restore {} --workspace {}": "the undo of a reset: the snapshots' tests run it",
    "node list shows all": "a node that is there is this one, to which an assignment needs no --node",
    "workspace list shows all": "a list of what `state snapshot --workspace` takes",
    "events schema lists them": "a schema, no list of names to try again with",
    "`maestro demo workflow`, `maestro agent assign --help` and `maestro task dispatch --help`": "an invitation",
    "`maestro help workflows`, a tutorial of ten minutes, and `maestro workflow run --help`": "an invitation",
    "maestro demo {}": "the demo's own test runs it",
    "sleep 1; echo 'an API on port 8080' | tee plan.md; {} state set api_port 8080 --ttl 1h >/dev/null": "a demo's",
    "{}; task wait {} waits for it": ("a wait for as long as a node is away"),
    "use another snapshot: `maestro state snapshots` lists all": ("a list"),
    "use another snapshot: `state snapshots` lists all": ("a list"),
    "name the tar.gz that `state snapshot --output` wrote": ("names a file, no command to run now"),
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
}
"""Remedies that no test walks, and why."""
