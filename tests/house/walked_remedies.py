"""The remedies that a test of their own place walks already, each with that test; see `remedies.py`."""

from __future__ import annotations

from maestro.model.scheduling.ways import WAYS
from tests.house.remedies import REMEDY

_EXPLAINED = "tests/model/scheduling/test_explanation.py"
ELSEWHERE = {
    "no node is up, so nothing goes on; `maestro up` starts this one": (
        "tests/board/test_log_routes.py::test_it_is_told_that_no_node_is_up"
    ),
    "`maestro help python` lists the options": (
        "tests/library/test_client.py::test_a_value_of_another_type_is_invalid_before_anything_is_sent"
    ),
    "maestro replay verify says what it is": (
        "tests/library/test_client.py::test_an_altered_log_is_an_error_behind_its_last_good_event"
    ),
    **dict.fromkeys(
        (text for text in WAYS.values() if REMEDY.search(text)),
        f"{_EXPLAINED}::test_a_reason_is_reached_says_since_when_and_is_gone_with_what_lets_it_go_on",
    ),
    **dict.fromkeys(
        (
            "{}, then: maestro task retry {}",
            "raise `budget` in the YAML of the agent's type, then `maestro agent register TYPE`",
        ),
        f"{_EXPLAINED}::test_over_a_budget_the_way_on_is_of_the_one_that_was_spent",
    ),
    **dict.fromkeys(
        ("maestro task retry {}", "maestro task retry {} --budget-cost N (or --budget-tokens N)"),
        f"{_EXPLAINED}::test_one_that_has_ended_says_how_and_what_would_try_it_again",
    ),
    "maestro workflow status {} shows its run, which decides on more": (
        "tests/runtime/handlers/test_explanations.py::test_a_run_of_a_workflow_is_explained_step_by_step"
    ),
    "their agents take nothing until then; start its daemon there (maestro up), which exchanges them first": (
        "tests/runtime/restores/across/test_nodes.py"
        "::test_a_node_that_is_away_behind_the_decision_is_pending_and_takes_nothing_until_it_is_back"
    ),
    "no schedules; maestro schedule add makes one": (
        "tests/runtime/handlers/test_schedules.py::test_an_empty_list_says_what_makes_a_schedule"
    ),
    "maestro schedule list shows all": (
        "tests/runtime/handlers/test_schedules.py::test_names_that_are_not_there_are_told_and_a_workflows_own_are_switched_with_it"
    ),
    "maestro workflow disable {}, or take it out of its definition": (
        "tests/runtime/handlers/test_schedules.py::test_names_that_are_not_there_are_told_and_a_workflows_own_are_switched_with_it"
    ),
    "wait for its end, or cancel it; maestro schedule list shows it": (
        "tests/runtime/handlers/test_schedules.py::test_while_its_run_is_on_it_begins_no_other_and_what_fails_is_said"
    ),
    "interrupted; what schedule {} has begun goes on: maestro schedule list": (
        "tests/runtime/handlers/test_schedules.py::test_an_interrupted_firing_by_hand_goes_on_and_the_list_shows_it"
    ),
    "store it: maestro workflow create {} --definition FILE": (
        "tests/runtime/handlers/test_schedules.py::test_what_cannot_be_is_refused_when_it_is_added_and_nothing_is_kept"
    ),
    "its schedules are switched off: maestro workflow enable {}": (
        "tests/runtime/handlers/test_schedules.py::test_names_that_are_not_there_are_told_and_a_workflows_own_are_switched_with_it"
    ),
    "maestro schedule list": (
        "tests/runtime/handlers/test_schedules.py::test_an_interrupted_firing_by_hand_goes_on_and_the_list_shows_it"
    ),
    "find out what the store lost, then `maestro doctor --accept-loss`": (
        "tests/runtime/daemon/test_losses.py::test_a_store_without_its_tail_stops_the_daemon_until_the_loss_is_accepted"
    ),
    "stop, find out what the store lost, then `maestro doctor --accept-loss`": (
        "tests/store/redis/test_healing.py::test_what_is_left_of_a_damaged_log_is_made_one_whole_log"
    ),
    "a person makes one: maestro agent assign": (
        "tests/mcp/test_server.py::test_a_run_may_use_what_its_type_delegates_and_nothing_else"
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
    "it takes work when its daemon runs again (there: maestro up)": (
        "tests/runtime/scheduler/test_failover.py::test_another_leader_decides_within_seconds"
    ),
    "start its daemon there (maestro up), or name another": (
        "tests/runtime/scheduler/test_lost_nodes.py::test_a_node_that_is_back_has_its_agents_healthy_and_no_run_has_ended_twice"
    ),
    "maestro agent assign {} --name {}{} --to-workspace": (
        "tests/runtime/provision/test_vanished_workspaces.py::test_assigning_it_again_makes_it_anew"
    ),
    "start the daemon of its node (maestro up)": (
        "tests/runtime/scheduler/test_failover.py::test_what_is_bound_waits_and_says_so_and_goes_on_by_one_command"
    ),
    "maestro agent assign {}": (
        "tests/runtime/scheduler/test_failover.py::test_what_is_bound_waits_and_says_so_and_goes_on_by_one_command"
    ),
    "maestro agent assign {} --from-snapshot newest --node NODE moves one": (
        "tests/runtime/scheduler/test_failover.py::test_what_is_bound_waits_and_says_so_and_goes_on_by_one_command"
    ),
    "start its daemon there (maestro up): then it is known again": (
        "tests/runtime/scheduler/test_failover.py::test_what_is_bound_waits_and_says_so_and_goes_on_by_one_command"
    ),
    "node {}, which is drained (maestro node drain {} --undo)": (
        "tests/runtime/scheduler/test_failover.py::test_a_drained_node_finishes_what_runs_and_leaves_and_takes_nothing_until_that_is_undone"
    ),
    "this node takes nothing until `maestro node drain {} --undo`": (
        "tests/runtime/scheduler/test_failover.py::test_a_drained_node_finishes_what_runs_and_leaves_and_takes_nothing_until_that_is_undone"
    ),
    "maestro node drain {} ends it first; or end its daemon": (
        "tests/runtime/scheduler/test_failover.py::test_a_drained_node_finishes_what_runs_and_leaves_and_takes_nothing_until_that_is_undone"
    ),
    "start its daemon there (maestro up)": (
        "tests/runtime/node/test_forwards.py::test_a_daemon_that_is_killed_in_the_middle_is_told_of_within_seconds"
    ),
    "agent {} is stopped now: maestro agent restart {} has it take work again": (
        "tests/runtime/node/test_forwards.py::test_reset_and_clean_are_carried_out_where_the_workspace_is"
    ),
    "it was begun, and then the node went away; maestro audit {} shows whether it answers yet": (
        "tests/runtime/node/test_forwards.py::test_a_daemon_that_is_killed_in_the_middle_is_told_of_within_seconds"
    ),
    "interrupted; node {} goes on with it: maestro audit {}": (
        "tests/runtime/node/test_forwards.py::test_ctrl_c_says_what_goes_on_and_it_does_once"
    ),
    "{} {} takes or makes it anew, maestro state restore <snapshot> --workspace {} brings it back": (
        "tests/runtime/provision/test_vanished_workspaces.py::test_a_restore_brings_it_back"
    ),
    "stop that run there (maestro agent stop), then run this again": (
        "tests/runtime/provision/test_placements.py::test_what_another_home_writes_is_neither_emptied_nor_replaced"
    ),
    "maestro agent assign {} --name {} {}": (
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
    "maestro shutdown there first": (
        "tests/runtime/restores/across/test_nodes.py::test_a_flush_on_one_node_leads_out_on_the_others_and_a_file_brings_all_back"
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
    "maestro node list shows its node: start the daemon there (maestro up), or wait until it is taken for lost": (
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
    "maestro agent health {} says what to do about it; --force overrides": (
        "tests/runtime/monitor/test_unhealthy_agents.py::test_a_process_that_stands_still_its_program_and_their_mending_are_an_event_each"
    ),
    "maestro task cancel {} ends the run": (
        "tests/runtime/provision/test_vanished_workspaces.py::test_a_dispatch_after_the_cancel_of_a_run_that_stood_still_is_taken_at_once"
    ),
    "put it back, or bind another one: maestro agent assign {} --name {}": (
        "tests/runtime/monitor/test_unhealthy_agents.py::test_a_program_that_is_gone_is_put_back_or_another_one_is_bound"
    ),
    "maestro agent logs {} shows why": (
        "tests/runtime/monitor/test_unhealthy_agents.py::test_what_is_only_notable_refuses_nothing"
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
    "maestro task status {}   # then: maestro task retry {}": (
        "tests/runtime/monitor/test_alerts.py::test_two_monitors_on_two_nodes_show_an_alert_that_is_raised_once"
    ),
    "mend that, or silence it: maestro monitor snooze {} --for 2h": (
        "tests/runtime/monitor/test_alerts.py::test_what_is_acknowledged_or_snoozed_wants_attention_no_more"
    ),
    "maestro monitor alerts --all shows all": (
        "tests/runtime/monitor/test_alerts.py::test_what_is_acknowledged_or_snoozed_wants_attention_no_more"
    ),
    "`maestro state restore {} --workspace {}` has it as it was before": (
        "tests/runtime/restores/test_failsafe.py::test_what_a_person_has_changed_since_stays_and_the_agent_is_held"
    ),
    "{}, `maestro agent restart {}` goes on with what is there": (
        "tests/runtime/restores/test_failsafe.py::test_what_a_person_has_changed_since_stays_and_the_agent_is_held"
    ),
    "{}; `maestro agent restart {}` has it take work again": (
        "tests/runtime/restores/test_failsafe.py"
        "::test_after_three_returns_in_a_row_the_agent_is_held_and_its_remedy_leads_out"
    ),
    "maestro task retry {}{}": "tests/agents/test_unseen_agents.py::test_silence_and_budgets_end_a_run",
    "to raise it: `budget` in {}, then `maestro agent register {}`": (
        "tests/agents/test_unseen_agents.py::test_a_type_that_spends_its_budget_goes_on_with_a_larger_one_as_it_says"
    ),
    "maestro task status {}   # raise the limit that its evidence names, then: maestro task retry {}": (
        "tests/agents/test_unseen_agents.py::test_a_type_that_spends_its_budget_goes_on_with_a_larger_one_as_it_says"
    ),
    "start a monitor for it ({}), or give it up: maestro monitor ack webhook:{}": (
        "tests/runtime/monitor/test_alerts.py"
        "::test_one_look_sends_what_is_due_once_and_leaves_a_receiver_that_fails_to_the_next"
    ),
}

"""Remedies that another test walks."""
