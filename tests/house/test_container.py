"""The image and the composition of `tools/container/`, as far as they can be tried without an engine.

Every file that they name is there, the composition is what a small schema allows, its store is one that Maestro finds
safe, and its parts in shell run here.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from maestro import config
from maestro.runtime.daemon import departure
from maestro.store.redis import safety
from maestro.store.redis.redis_store import open_redis
from tests.conftest import BINARIES
from tests.house import sources
from tests.installation import Installation

FOLDER = sources.ROOT / "tools" / "container"
CONTAINERFILE = (FOLDER / "Containerfile").read_text().replace("\\\n", " ")
COMPOSITIONS: dict[str, dict[str, Any]] = {
    name: yaml.safe_load((FOLDER / name).read_text()) for name in ("compose.yaml", "nodes.yaml")
}
TEXT, TEXTS, TRUTH = {"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "boolean"}
DURATION = {"type": "string", "pattern": r"^\d+(s|m|h)$"}


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


HEALTH = closed(
    test=TEXTS, interval=DURATION, timeout=DURATION, start_period=DURATION, retries={"type": "integer"}, disable=TRUTH
)
SERVICE = closed(
    image=TEXT,
    build=closed(context=TEXT, dockerfile=TEXT),
    restart={"enum": ["no", "always", "on-failure", "unless-stopped"]},
    command=TEXTS,
    entrypoint=TEXTS,
    depends_on={
        "type": "object",
        "additionalProperties": closed(
            condition={"enum": ["service_started", "service_healthy", "service_completed_successfully"]}
        ),
    },
    env_file=TEXTS,
    volumes=TEXTS,
    networks=TEXTS,
    healthcheck=HEALTH,
    stop_grace_period=DURATION,
    cap_drop=TEXTS,
    security_opt=TEXTS,
    pids_limit={"type": "integer"},
    pid={"type": "string", "pattern": "^(host|service:[a-z]+)$"},
    read_only=TRUTH,
    tmpfs=TEXTS,
)
SCHEMA = closed(
    name=TEXT,
    services={"type": "object", "additionalProperties": SERVICE},
    networks={"type": "object", "additionalProperties": closed(internal=TRUTH)},
    volumes={"type": "object", "additionalProperties": {"type": "object", "maxProperties": 0}},
    **{"x-node": SERVICE},
)
"""What this composition uses of the Compose Specification; a key that is misspelt is none of it."""


def instructions(kind: str) -> list[str]:
    return re.findall(rf"^{kind} (.*)$", CONTAINERFILE, re.MULTILINE)


@pytest.mark.parametrize("file", COMPOSITIONS)
def test_the_composition_is_one_and_what_it_names_is_there(file: str) -> None:
    composition = COMPOSITIONS[file]
    jsonschema.validate(composition, SCHEMA)
    for name, service in composition["services"].items():
        assert set(service["networks"]) <= set(composition["networks"]), name
        assert set(service.get("depends_on", {})) <= set(composition["services"])
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (FOLDER / source).is_dir() if source.startswith(".") else source in composition["volumes"], volume
        for env in service["env_file"]:
            assert (FOLDER / f"{env}.example").is_file()
        assert service["image"] == "maestro" or re.search(r":\D*\d+[.-]\d+[.-]\d+", service["image"]), "no moving tag"
    assert "tools/container/*.env" in (sources.ROOT / ".gitignore").read_text().splitlines()
    nodes = {name: service for name, service in composition["services"].items() if name.startswith("node")}
    (build,) = [service["build"] for service in nodes.values() if "build" in service]
    assert (FOLDER / build["context"]).resolve() == sources.ROOT
    assert (sources.ROOT / build["dockerfile"]).read_text().startswith("# A node of Maestro")
    for service in nodes.values():
        assert int(service["stop_grace_period"].removesuffix("s")) > departure.END_S_MAX + departure.HOLD_S_MAX
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**composition, "services": {"node": {"helthcheck": {}}}}, SCHEMA)


def test_three_nodes_share_a_store_and_an_archive_and_no_folder() -> None:
    composition = COMPOSITIONS["nodes.yaml"]
    nodes = [service for name, service in composition["services"].items() if name.startswith("node-")]
    assert len(nodes) == 3
    kept = [volume.partition(":")[0] for service in nodes for volume in service["volumes"] if volume[0] != "."]
    assert len(set(kept)) == len(kept) == 6
    assert composition["services"]["valkey"] == COMPOSITIONS["compose.yaml"]["services"]["valkey"]
    lines = (FOLDER / "nodes.env.example").read_text().splitlines()
    env = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    settings = config.load({name: text for name, text in env.items() if name.startswith("MAESTRO_")}, FOLDER)
    assert settings.archive_url == env["MAESTRO_ARCHIVE_URL"]
    bucket = settings.archive_url.removeprefix("s3://").partition("/")[0]
    assert f"objects/{bucket}" in composition["services"]["bucket"]["command"][0].split()
    assert env["AWS_ENDPOINT"].removeprefix("http://").partition(":")[0] in composition["services"]
    keys = dict(line.split("=", 1) for line in (FOLDER / "objects.env.example").read_text().splitlines()[1:])
    assert (env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]) == tuple(keys.values())
    script = (FOLDER / "install").read_text()
    (chosen,) = re.findall(r"^awk '(.*)' ", script, re.MULTILINE)
    done = subprocess.run(["awk", chosen, str(sources.ROOT / "tools/locked/test.txt")], capture_output=True, text=True)
    assert re.fullmatch(r"obstore==\S+ \\\n(\s+--hash=sha256:\w+( \\)?\n)+(\s+#.*\n)*", done.stdout)


def test_the_image_is_pinned_runs_as_nobody_special_and_has_only_what_is_named() -> None:
    assert re.search(r":\d+\.\d+\.\d+-[a-z-]+", instructions("ARG")[0]), "a version, no moving tag"
    assert instructions("FROM") == ["${BASE} AS built", "${BASE}"]
    assert int(instructions("USER")[0].partition(":")[0]) >= 1000
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    assert instructions("CMD") == ['["worker"]'] and instructions("ENTRYPOINT") == ['["maestro"]']
    ignored = (FOLDER / "Containerfile.dockerignore").read_text().splitlines()
    sent = [line[1:] for line in ignored if line.startswith("!")]
    for line in instructions("COPY"):
        words = [word for word in line.split() if not word.startswith("--")]
        if "--from=built" in line:
            continue
        for source in words[:-1]:
            assert (sources.ROOT / source).exists(), source
            assert any(source == each or fnmatch.fnmatch(source, f"{each}/*") for each in sent), source
    named = set(
        re.findall(r"\bMAESTRO_[A-Z_]+", CONTAINERFILE + "".join(p.read_text() for p in FOLDER.glob("*.example")))
    )
    known = (sources.ROOT / "maestro" / "docs" / "settings.md").read_text()
    assert not [name for name in named if f"`{name}`" not in known]


def test_dependencies_come_by_hash_only() -> None:
    lines = [line for line in (FOLDER / "install").read_text().splitlines() if " pip install" in line]
    assert len(lines) == 2
    assert "--require-hashes --requirement" in lines[0] and "tools/locked/run.txt" in lines[0]
    assert "--no-deps --no-build-isolation" in lines[1]


@pytest.mark.parametrize("script", ["install", "healthy"])
def test_its_scripts_are_posix_shell(script: str) -> None:
    assert os.access(FOLDER / script, os.X_OK)
    assert subprocess.run(["sh", "-n", str(FOLDER / script)]).returncode == 0


def test_the_health_check_tells_a_daemon_that_answers_from_none(tmp_path: Path) -> None:
    (tmp_path / "healthy").write_text((FOLDER / "healthy").read_text())
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    for name in ("healthy", "python"):
        (tmp_path / name).chmod(0o755)
    with Installation(tmp_path / "here") as here:
        words = [str(tmp_path / "healthy")]
        before = subprocess.run(words, env=here.env, capture_output=True, text=True)
        assert (before.returncode, before.stderr) == (1, "") and "does not answer" in before.stdout
        here.json("up")
        after = subprocess.run(words, env=here.env, capture_output=True, text=True)
        assert (after.returncode, after.stdout, after.stderr) == (0, "the daemon answers\n", "")


def test_its_store_is_one_that_is_found_safe(tmp_path: Path) -> None:
    """The command of the composition, with the server that comes with Maestro, on a socket instead of a port."""
    shell, flag, script = COMPOSITIONS["compose.yaml"]["services"]["valkey"]["command"]
    script = script.replace("$$", "$").replace("/data", str(tmp_path)).replace("valkey-server", str(BINARIES["valkey"]))
    script += f" --port 0 --unixsocket {shlex.quote(str(tmp_path / 's'))}"
    with subprocess.Popen(
        [shell, flag, script], env={"VALKEY_PASSWORD": "p w'$1"}, stdout=subprocess.DEVNULL
    ) as server:
        try:
            for _ in range(200):
                if (tmp_path / "s").exists():
                    break
                time.sleep(0.05)
            store = open_redis(f"unix://:p%20w%27%241@{tmp_path}/s", "t")
            found = safety.checks(store.describe(), "url")
            safety.refuse_unsafe(found, "compose")
            assert [check for check in found if not check.ok] == []
            store.close()
        finally:
            server.terminate()
