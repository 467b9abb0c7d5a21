"""The command lines of isolation, word for word, and what a program needs to be readable."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from maestro.workspaces.sandbox import engine, isolation, reach
from maestro.workspaces.sandbox.isolation import Box, bubblewrap

BOX = Box(
    write=("/h/agents/a/home", "/r/a/t/tmp", "/w"),
    read=("/opt/agent", "/cache"),
    links=(("/usr2/bin/agent", "../../opt/agent/bin/agent"),),
    bound=(("/root/.x/auth.json", "/h/agents/a/home/.x/auth.json"),),
    sockets=("/h/run-1.sock",),
)


def has(line: list[str], *words: str) -> bool:
    return any(line[at : at + len(words)] == list(words) for at in range(len(line)))


def test_a_box_cuts_off_everything_that_it_does_not_name() -> None:
    line = bubblewrap(BOX, ("agent", "-x", "--bind", "/", "/"), "/w")
    inside = line.index("--")
    assert line[inside + 1 :] == ["agent", "-x", "--bind", "/", "/"]  # whatever the agent's own words are
    words = line[:inside]
    for flag in ("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--die-with-parent"):
        assert flag in words
    assert has(words, "--cap-drop", "ALL") and has(words, "--remount-ro", "/proc") and "--disable-userns" in words
    assert has(words, "--bind", "/w", "/w") and has(words, "--ro-bind", "/cache", "/cache")
    assert has(words, "--symlink", "../../opt/agent/bin/agent", "/usr2/bin/agent")
    assert has(words, "--ro-bind", "/root/.x/auth.json", "/h/agents/a/home/.x/auth.json")
    assert words[-4:] == ["--remount-ro", "/", "--chdir", "/w"]
    shown = {target for flag, target in pairwise(words) if flag in ("--bind", "--ro-bind", "--ro-bind-try")}
    assert not shown & {"/", "/root", "/home", "/etc", "/sys", "/var", "/run", "/proc", "/tmp", "/dev"}


def test_a_shared_network_is_the_only_difference_that_it_makes() -> None:
    alone, shared = (bubblewrap(BOX._replace(network=one), ("a",), "/w") for one in (False, True))
    assert [word for word in alone if word != "--unshare-net"] == shared


def test_an_agent_with_a_sandbox_of_its_own_may_make_namespaces_and_no_more() -> None:
    line = bubblewrap(BOX._replace(nested=True), ("codex",), "/w")
    assert "--disable-userns" not in line and not has(line, "--remount-ro", "/proc")
    as_root = bubblewrap(BOX._replace(nested=True, as_root=True), ("codex",), "/w")
    assert has(as_root, "--uid", "1000") and has(as_root, "--ro-bind-try", "/proc/sys", "/proc/sys")


def test_what_lies_in_another_folder_of_the_box_is_put_over_it() -> None:
    line = bubblewrap(Box(write=("/data/cache/w", "/data"), read=("/data/cache", "/d/e/f", "/d")), ("a",), "/w")
    order = [target for flag, target in pairwise(line) if flag in ("--bind", "--ro-bind")]
    assert order == ["/d", "/data", "/data/cache", "/d/e/f", "/data/cache/w"]


def test_an_older_bubblewrap_is_not_given_what_it_does_not_know() -> None:
    assert "--disable-userns" not in bubblewrap(BOX, ("a",), "/w", can_seal=False)


def script(path: Path, first: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{first}\n")
    path.chmod(0o755)
    return path


def test_a_command_of_npm_needs_its_node_modules_and_its_own_node(tmp_path: Path) -> None:
    modules = tmp_path / "npm" / "lib" / "node_modules"
    real = script(modules / "@x" / "cli" / "bin" / "x.js", "#!/usr/bin/env node")
    link = tmp_path / "npm" / "bin" / "x"
    link.parent.mkdir(parents=True)
    link.symlink_to(f"../lib/node_modules/@x/cli/bin/{real.name}")
    node = script(tmp_path / "nvm" / "v20" / "bin" / "node", "")
    found = reach.of_program(str(link), str(node.parent), (str(tmp_path),))
    assert set(found.read) == {str(modules), str(tmp_path / "nvm" / "v20")}
    assert found.links == ((str(link), "../lib/node_modules/@x/cli/bin/x.js"),)


def test_a_command_of_a_virtual_environment_needs_all_of_it(tmp_path: Path) -> None:
    venv = tmp_path / "tools" / "venv"
    python = script(venv / "bin" / "python", "")
    command = script(venv / "bin" / "aider", f"#!{python}")
    assert reach.of_program(str(command), "/usr/bin", (str(tmp_path),)).read == (str(venv),)


def test_a_command_in_the_home_shows_nothing_else_of_the_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for place in ("bin", ".local/bin"):
        command = script(home / place / "agent", "#!/bin/sh")
        assert reach.of_program(str(command), "/usr/bin", (str(home),)).read == (str(command),)


def test_programs_of_the_system_need_nothing_more() -> None:
    assert reach.of_program("/bin/sh", "/usr/bin:/bin") == reach.Reach()


CONTAINER = engine.Container(
    run="t-0.1", home="/h", workspace="/w", image="node:22", user="1:2", memory=64, cpu=1.5, pids=9, grace_s=3
)


def test_docker_gets_the_same_box() -> None:
    line = engine.run_command(CONTAINER, BOX, ("/opt/agent/bin/agent", "do it"), "/w", ["KEY", "HOME"])
    network = engine.network_of("/w")
    assert network.startswith("maestro-") and len(network) == 20
    assert line == [
        *("docker", "run", "--rm", "--init", "--interactive", "--name", engine.name_of(CONTAINER), "--user", "1:2"),
        *("--label", "maestro.home=/h", "--label", "maestro.run=t-0.1", "--network", network),
        *("--read-only", "--tmpfs", "/tmp:rw,exec,nosuid", "--cap-drop", "ALL"),
        *("--security-opt", "no-new-privileges", "--memory", "64", "--memory-swap", "64", "--cpus", "1.5"),
        *("--pids-limit", "9", "--stop-signal", "SIGTERM", "--stop-timeout", "3"),
        *("--mount", "type=bind,source=/cache,target=/cache,readonly"),
        *("--mount", "type=bind,source=/opt/agent,target=/opt/agent,readonly"),
        *("--mount", "type=bind,source=/h/agents/a/home,target=/h/agents/a/home"),
        *("--mount", "type=bind,source=/r/a/t/tmp,target=/r/a/t/tmp", "--mount", "type=bind,source=/w,target=/w"),
        *("--mount", "type=bind,source=/h/run-1.sock,target=/h/run-1.sock"),
        *("--mount", "type=bind,source=/root/.x/auth.json,target=/h/agents/a/home/.x/auth.json,readonly"),
        *(
            "--env",
            "HOME",
            "--env",
            "KEY",
            "--workdir",
            "/w",
            "--entrypoint",
            "/opt/agent/bin/agent",
            "node:22",
            "do it",
        ),
    ]


def test_a_network_of_docker_has_no_way_out_and_a_shared_one_is_the_engine_s_own() -> None:
    assert "--internal" in engine.network_command("/w")
    line = engine.run_command(CONTAINER, BOX._replace(network=True), ("a",), "/w", [])
    assert has(line, "--network", "bridge")


def test_a_container_is_removed_by_the_name_it_got() -> None:
    name = engine.name_of(CONTAINER)
    assert engine.name_commands(CONTAINER) == (
        ["docker", "pause", name],
        ["docker", "unpause", name],
        ["docker", "rm", "--force", "--volumes", name],
    )
    assert engine.name_of(CONTAINER._replace(home="/other")) != name


def test_a_path_with_a_comma_is_one_mount() -> None:
    line = engine.run_command(CONTAINER, Box(write=("/a,b",)), ("a",), "/w", [])
    assert 'type=bind,"source=/a,b","target=/a,b"' in line


def test_the_system_s_folders_hold_no_keys() -> None:
    assert not {"shadow", "gshadow", "sudoers", "ssh", "machine-id"} & set(isolation.ETC)
