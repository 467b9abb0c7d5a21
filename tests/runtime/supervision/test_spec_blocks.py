"""The sessions that the specification promises run as written: other paths, a shorter sleep, a test agent as kilo."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.installation import Installation

REVIEW = r"""
maestro agent assign code-reviewer --to-workspace /tmp/pr-123-review --priority 1
maestro agent assign test-engineer --to-workspace /tmp/pr-123-tests --priority 2
maestro task dispatch "Review PR #123, check for security issues and code style" --to code-reviewer --sync
maestro task dispatch "Run unit and integration tests for PR #123" --to test-engineer \
  --depends-on $(maestro task list --last | jq -r '.id') --sync
"""

TEAM = r"""
export MAESTRO_WORKSPACE_ROOT=/opt/flickclaw-workspaces
maestro agent assign flickclaw-bot --to-workspace /opt/flickclaw-workspaces/backend --role backend-dev
maestro agent assign frontend-specialist --to-workspace /opt/flickclaw-workspaces/frontend --role ui-dev
maestro task dispatch "Implement user authentication API endpoint with JWT" --to flickclaw-bot --async
maestro task dispatch "Create login form component with validation and error handling" \
  --to frontend-specialist --async --timeout 3600
while true; do
  backend_status=$(maestro task status --last flickclaw-bot | jq -r '.status')
  frontend_status=$(maestro task status --last frontend-specialist | jq -r '.status')
  [[ "$backend_status" == "completed" && "$frontend_status" == "completed" ]] && break
  sleep 30
done
"""

RESTORE = r"""
maestro agent list
maestro shutdown --grace-period 10
latest=$(ls -t /backups/maestro-snapshots/*.tar.gz | head -1)
maestro state restore "$latest" --dry-run
maestro state restore "$latest"
maestro agent assign --from-snapshot "$latest"
"""


def run_block(place: Installation, block: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block], env=place.env, capture_output=True, text=True, timeout=120
    )


def test_the_review_block_runs_as_written(tmp_path: Path) -> None:
    with Installation(tmp_path) as place:
        place.agent_type("code-reviewer")
        place.agent_type("test-engineer")
        block = REVIEW.replace("/tmp/pr-123", f"{tmp_path}/pr-123")
        done = run_block(place, block)
        assert done.returncode == 0, done.stderr
        newest, review = place.json("task", "list")
        assert [newest["status"], review["status"]] == ["completed", "completed"]
        assert newest["depends_on"] == [review["id"]]
        assert newest["runs"][0]["started_at"] >= review["finished_at"]
        assert "did: Review PR #123, check for security issues and code style" in review["runs"][0]["result"]
        assert review["runs"][0]["workspace"] == f"{tmp_path}/pr-123-review"
        by_id = {row["id"]: row for row in place.json("agent", "list")}
        assert by_id["code-reviewer"]["priority"] == 1
        assert by_id["test-engineer"]["workspace"] == f"{tmp_path}/pr-123-tests"
        result = place.json("state", "get", f"task:{review['id']}:result")
        assert "did: Review PR #123" in json.dumps(result)


def test_the_team_block_runs_as_written(tmp_path: Path) -> None:
    with Installation(tmp_path) as place:
        place.agent_type("flickclaw-bot")
        place.agent_type("frontend-specialist")
        block = TEAM.replace("/opt/flickclaw-workspaces", str(tmp_path / "flickclaw")).replace("sleep 30", "sleep 0.2")
        done = run_block(place, block)
        assert done.returncode == 0, done.stderr
        rows = place.json("task", "list")
        assert [row["status"] for row in rows] == ["completed", "completed"]
        by_id = {row["id"]: row for row in place.json("agent", "list")}
        assert by_id["flickclaw-bot"]["role"] == "backend-dev"
        assert (tmp_path / "flickclaw" / "flickclaw-bot" / rows[1]["id"] / "agent.log").exists()


def test_the_restore_block_runs_as_written(tmp_path: Path) -> None:
    backups = tmp_path / "backups/maestro-snapshots"
    backups.mkdir(parents=True)
    with Installation(tmp_path / "here") as place:
        place.agent_type("flickclaw-bot")
        place.agent_type("frontend-specialist")
        for agent, folder in (("flickclaw-bot", "backend"), ("frontend-specialist", "frontend")):
            place.json("agent", "assign", agent, "--to-workspace", str(place.root / folder), "--priority", "2")
            place.json("task", "dispatch", f"run:echo {agent} > made", "--to", agent, "--sync")
        place.json("state", "snapshot", "--output", str(backups / "one.tar.gz"))
        place.json("task", "dispatch", "run:rm made; exec sleep 300", "--to", "flickclaw-bot")
        (place.root / "frontend/made").write_text("changed since")

        done = run_block(place, RESTORE.replace("/backups", str(tmp_path / "backups")))
        assert done.returncode == 0, done.stderr
        assert [(place.root / name / "made").read_text() for name in ("backend", "frontend")] == [
            "flickclaw-bot\n",
            "frontend-specialist\n",
        ]
        assert [row["status"] for row in place.json("task", "list")] == ["completed", "completed"]
        assert [(row["id"], row["state"], row["priority"]) for row in place.json("agent", "list")] == [
            ("flickclaw-bot", "idle", 2),
            ("frontend-specialist", "idle", 2),
        ]
        assert place.json("task", "dispatch", "run:true", "--to", "flickclaw-bot", "--sync")["status"] == "completed"
