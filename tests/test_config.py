"""Settings: defaults, sources, bad values in one line, secrets hidden, folders opened safely."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from maestro import config
from maestro.model.errors import Invalid


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "PATH": str(tmp_path / "bin")}


def write_config(env: dict[str, str], text: str) -> Path:
    path = Path(env["HOME"], ".config", "maestro", "config.toml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_with_nothing_set_each_value_is_the_documented_default(env: dict[str, str], tmp_path: Path) -> None:
    settings = config.load(env)
    assert settings.home == tmp_path / ".local/state/maestro"
    assert settings.workspace_root == Path("/tmp/maestro-workspaces")
    assert settings.redis_url is None
    assert (settings.log_level, settings.namespace, settings.embedded_fsync) == ("INFO", "default", "always")
    assert (settings.max_concurrent, settings.snapshot_retention_days, settings.agent_timeout_s) == (4, 7, 1800)
    assert (settings.failsafe_mode, settings.autostart) == (False, True)
    assert settings.agents_dirs == (Path("/etc/maestro/agents.d"), tmp_path / ".config/maestro/agents.d")
    assert (settings.segments_dir, settings.log_events_max) == (settings.home / "segments", 100_000)
    assert set(settings.sources.values()) == {"default"}


def test_the_environment_sets_every_value(env: dict[str, str], tmp_path: Path) -> None:
    settings = config.load(
        env
        | {
            "MAESTRO_HOME": "~/state",
            "MAESTRO_WORKSPACE_ROOT": "work/../spaces",
            "MAESTRO_REDIS_URL": "redis://example:6380/1",
            "MAESTRO_LOG_LEVEL": "warning",
            "MAESTRO_MAX_CONCURRENT": "9",
            "MAESTRO_SNAPSHOT_RETENTION": "30",
            "MAESTRO_KILOCODE_BIN": "./kilo",
            "MAESTRO_AGENT_TIMEOUT": "5",
            "MAESTRO_FAILSAFE_MODE": "TRUE",
            "MAESTRO_AGENTS_DIR": "/srv/agents",
            "MAESTRO_AUTOSTART": "0",
            "MAESTRO_NAMESPACE": "team-a",
            "MAESTRO_EMBEDDED_FSYNC": "everysec",
            "MAESTRO_SEGMENTS_DIR": "/srv/segments",
            "MAESTRO_ARCHIVE_URL": "s3://bucket/some/prefix/",
            "MAESTRO_NODE_LABELS": "gpu",
            "MAESTRO_LOG_EVENTS_MAX": "20000",
            "MAESTRO_METRICS_TOKEN": "c2NyYXBlci1zLXRva2Vu",
            "MAESTRO_WEBHOOK_SECRETS": f"whsec_{'YWFh' * 8}",
        },
        cwd=tmp_path / "here",
    )
    assert settings.home == tmp_path / "state"
    assert settings.workspace_root == tmp_path / "here/spaces"
    assert settings.redis_url == "redis://example:6380/1"
    assert (settings.log_level, settings.namespace, settings.embedded_fsync) == ("WARN", "team-a", "everysec")
    assert (settings.max_concurrent, settings.snapshot_retention_days, settings.agent_timeout_s) == (9, 30, 5)
    assert (settings.failsafe_mode, settings.autostart) == (True, False)
    assert settings.kilocode_bin == str(tmp_path / "here/kilo")
    assert settings.agents_dirs == (Path("/srv/agents"),)
    assert (settings.segments_dir, settings.log_events_max) == (Path("/srv/segments"), 20_000)
    assert settings.archive_url == "s3://bucket/some/prefix"
    assert settings.metrics_token == "c2NyYXBlci1zLXRva2Vu"
    assert settings.webhook_secrets == (b"aaa" * 8,)
    assert set(settings.sources.values()) == {"environment"}


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("1h30m", 5400)])
def test_a_duration_is_written_as_everywhere(env: dict[str, str], text: str, seconds: int) -> None:
    assert config.load(env | {"MAESTRO_AGENT_TIMEOUT": text}).agent_timeout_s == seconds
    write_config(env, f'agent_timeout = "{text}"\nsnapshot_retention = 3\n')
    assert config.load(env).agent_timeout_s == seconds


@pytest.mark.parametrize(("text", "days"), [("3", 3), ("3d", 3), ("48h", 2), ("2w", 14)])
def test_a_bare_number_of_retention_is_days(env: dict[str, str], text: str, days: int) -> None:
    assert config.load(env | {"MAESTRO_SNAPSHOT_RETENTION": text}).snapshot_retention_days == days


def test_what_is_no_whole_number_of_its_unit_is_not_rounded(env: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="'36h' is no duration of 1 to 36500 whole days; give 7"):
        config.load(env | {"MAESTRO_SNAPSHOT_RETENTION": "36h"})


def test_xdg_folders_count_when_absolute_only(env: dict[str, str], tmp_path: Path) -> None:
    assert config.load(env | {"XDG_STATE_HOME": "/var/x"}).home == Path("/var/x/maestro")
    assert config.load(env | {"XDG_STATE_HOME": "x"}).home == tmp_path / ".local/state/maestro"
    assert config.load(env | {"XDG_CONFIG_HOME": "/etc/x"}).agents_dirs[1] == Path("/etc/x/maestro/agents.d")


def test_an_empty_variable_is_an_unset_one(env: dict[str, str]) -> None:
    settings = config.load(env | {"MAESTRO_REDIS_URL": " ", "MAESTRO_MAX_CONCURRENT": ""})
    assert settings.redis_url is None
    assert settings.max_concurrent == 4


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MAESTRO_MAX_CONCURRENT", "four"),
        ("MAESTRO_MAX_CONCURRENT", "0"),
        ("MAESTRO_MAX_CONCURRENT", "-1"),
        ("MAESTRO_MAX_CONCURRENT", "1e3"),
        ("MAESTRO_MAX_CONCURRENT", "٤"),
        ("MAESTRO_AGENT_TIMEOUT", "99999999999999999999"),
        ("MAESTRO_AGENT_TIMEOUT", "10x"),
        ("MAESTRO_SNAPSHOT_RETENTION", "0"),
        ("MAESTRO_LOG_LEVEL", "LOUD"),
        ("MAESTRO_FAILSAFE_MODE", "maybe"),
        ("MAESTRO_AUTOSTART", "2"),
        ("MAESTRO_NAMESPACE", "a{b}"),
        ("MAESTRO_NAMESPACE", "x" * 65),
        ("MAESTRO_NAMESPACE", "two\nlines"),
        ("MAESTRO_EMBEDDED_FSYNC", "no"),
        ("MAESTRO_LOG_EVENTS_MAX", "9999"),
        ("MAESTRO_SEGMENTS_DIR", "a\nb"),
        ("MAESTRO_SEGMENTS_DIR", "s3://bucket/segments"),
        ("MAESTRO_HOME", "file:///srv/maestro"),
        ("MAESTRO_HOME", "a\nb"),
        ("MAESTRO_ARCHIVE_URL", "/mnt/archive"),
        ("MAESTRO_ARCHIVE_URL", "file://host/folder"),
        ("MAESTRO_ARCHIVE_URL", "file:///"),
        ("MAESTRO_ARCHIVE_URL", "file:///mnt/../etc"),
        ("MAESTRO_ARCHIVE_URL", "file:///mnt/%2e%2e/etc"),
        ("MAESTRO_ARCHIVE_URL", "file:///two words"),
        ("MAESTRO_ARCHIVE_URL", "s3://"),
        ("MAESTRO_ARCHIVE_URL", "s3://Bucket/x"),
        ("MAESTRO_ARCHIVE_URL", "s3://bucket/a//b"),
        ("MAESTRO_ARCHIVE_URL", "gs://bucket/a"),
        ("MAESTRO_REDIS_URL", "localhost:6379"),
        ("MAESTRO_REDIS_URL", "http://localhost"),
        ("MAESTRO_REDIS_URL", "redis://"),
        ("MAESTRO_REDIS_URL", "redis://host:0"),
        ("MAESTRO_REDIS_URL", "redis://host:70000"),
        ("MAESTRO_REDIS_URL", "redis://host:port"),
        ("MAESTRO_REDIS_URL", "redis+sentinel://a:1,:2/main"),
        ("MAESTRO_REDIS_URL", "redis+sentinel://a:1,b:2"),
        ("MAESTRO_REDIS_URL", "redis://a:1,:2"),
        ("MAESTRO_REDIS_URL", "unix://relative.sock"),
        ("MAESTRO_REDIS_URL", "redis://two words"),
    ],
)
def test_a_bad_value_is_refused_in_one_line_that_names_the_variable_and_a_remedy(
    env: dict[str, str], variable: str, value: str
) -> None:
    with pytest.raises(Invalid) as refused:
        config.load(env | {variable: value})
    assert refused.value.where == variable
    assert refused.value.mend
    assert "\n" not in refused.value.line()
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://:secret@localhost:6379/0",
        "rediss://user:p%40ss@[::1]:6380",
        "unix:///run/redis.sock?db=1",
        "unix://user:pw@/run/redis.sock",
        "redis+sentinel://:pw@a:26379,b:26379/main",
        "redis://:pw@a:6379,[::1]:6380,c/0",
    ],
)
def test_the_urls_of_the_specification_are_taken_as_they_are(env: dict[str, str], url: str) -> None:
    assert config.load(env | {"MAESTRO_REDIS_URL": url}).redis_url == url


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@host/0",
        "redis://me:hunter2@host",
        "redis://me:hun@/hunter2@host",
        "unix://me:hunter2@/run/x.sock",
        "redis://host/0?password=hunter2&db=1",
        "redis+sentinel://a:1/main?sentinel_password=hunter2",
    ],
)
def test_no_secret_of_a_url_is_shown(env: dict[str, str], url: str) -> None:
    assert "hunter2" not in config.redact(url)
    rows = config.show(config.load(env | {"MAESTRO_REDIS_URL": url.replace("hun@/", "")}))
    assert "hunter2" not in str(rows)
    with pytest.raises(Invalid) as refused:
        config.load(env | {"MAESTRO_REDIS_URL": url.replace("redis", "http").replace("unix", "http")})
    assert "hunter2" not in refused.value.line()


def test_show_has_a_row_for_each_variable_with_its_source(env: dict[str, str]) -> None:
    path = write_config(env, "max_concurrent = 8\nautostart = false\n")
    rows = {row["name"]: row for row in config.show(config.load(env | {"MAESTRO_LOG_LEVEL": "debug"}))}
    assert rows["MAESTRO_MAX_CONCURRENT"] == {"name": "MAESTRO_MAX_CONCURRENT", "value": 8, "source": str(path)}
    assert rows["MAESTRO_AUTOSTART"]["value"] is False
    assert rows["MAESTRO_LOG_LEVEL"]["value"] == "DEBUG"
    assert rows["MAESTRO_LOG_LEVEL"]["source"] == "environment"
    assert rows["MAESTRO_HOME"]["source"] == "default"
    assert len(rows) == 19


def test_a_token_is_shown_nowhere_not_even_a_bad_one(env: dict[str, str]) -> None:
    rows = {row["name"]: row for row in config.show(config.load(env | {"MAESTRO_METRICS_TOKEN": "t" * 16}))}
    assert rows["MAESTRO_METRICS_TOKEN"] == {
        "name": "MAESTRO_METRICS_TOKEN",
        "value": "***",
        "source": "environment",
    }
    for bad in ("hunter2", "hunter2 with a space in it", "hunter2\u00e4" * 4):
        with pytest.raises(Invalid) as refused:
            config.load(env | {"MAESTRO_METRICS_TOKEN": bad})
        assert "MAESTRO_METRICS_TOKEN: its value is no token" in refused.value.line()
        assert "hunter2" not in refused.value.line()


def test_the_environment_wins_over_the_file(env: dict[str, str]) -> None:
    write_config(env, 'max_concurrent = 8\nredis_url = "redis://file"\n')
    settings = config.load(env | {"MAESTRO_MAX_CONCURRENT": "2"})
    assert settings.max_concurrent == 2
    assert settings.redis_url == "redis://file"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("namespace = x\n", "line 1"),
        ("max_concurrent = 1\nmax_concurrent = 2\n", "line 2"),
        ("max_concurent = 1\n", "'max_concurent'"),
        ("max_concurrent = [1]\n", "[1]"),
        ("max_concurrent = 'x'\n", "'x'"),
    ],
)
def test_a_bad_file_is_refused_in_one_line_with_its_place(env: dict[str, str], text: str, said: str) -> None:
    path = write_config(env, text)
    with pytest.raises(Invalid) as refused:
        config.load(env)
    assert refused.value.where.startswith(str(path))
    assert said in refused.value.line()
    assert "\n" not in refused.value.line()


def test_reset_removes_the_file_and_keeps_each_backup(env: dict[str, str]) -> None:
    first = write_config(env, "max_concurrent = 8\n")
    backup = config.reset(config.load(env))
    assert backup is not None and backup.read_text() == "max_concurrent = 8\n"
    assert not first.exists()
    assert config.reset(config.load(env)) is None
    write_config(env, "max_concurrent = 9\n")
    second = config.reset(config.load(env))
    assert second is not None and second.read_text() == "max_concurrent = 9\n"
    assert backup.read_text() == "max_concurrent = 8\n"


def test_kilo_is_found_on_path_when_not_named(env: dict[str, str], tmp_path: Path) -> None:
    binary = tmp_path / "bin" / "kilo"
    binary.parent.mkdir()
    binary.write_text("#!/bin/sh\n")
    assert config.load(env | {"MAESTRO_KILOCODE_BIN": "kilo"}).kilocode_bin == "kilo"
    binary.chmod(0o755)
    assert config.load(env | {"MAESTRO_KILOCODE_BIN": "kilo"}).kilocode_bin == str(binary)
    assert config.load(env).kilocode_bin in (str(config.KILO_DEFAULT), str(binary))


def test_a_relative_path_from_a_folder_that_is_gone_is_told(env: dict[str, str], tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = (
        "import os; os.rmdir(os.getcwd()); from maestro import config; config.load({'HOME': '/', 'MAESTRO_HOME': 'x'})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=gone, capture_output=True, text=True)
    assert "MAESTRO_HOME: 'x' is relative to a folder that is gone; name an absolute path" in done.stderr


def test_settings_cost_a_command_neither_redis_nor_trio() -> None:
    imported = "import sys, maestro.config, maestro.store.embedded.choice"
    code = f"{imported}; print([m for m in sys.modules if m in ('redis', 'trio')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_command_that_a_daemon_answers_imports_nothing_that_it_can_do_without() -> None:
    code = (
        "import sys; from maestro import __main__ as m; m._import_msgspec(); import maestro.cli.app, maestro.cli.task;"
        "unwanted = {'ctypes', 'redis', 'rich', 'trio', 'typing_extensions'}; print(sorted(unwanted & {*sys.modules}));"
        "import typing_extensions"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "url", ["s3://AKIA:hunter2@bucket/x", "s3://hunter2@bucket", "s3://bucket/x?aws_secret=hunter2"]
)
def test_credentials_have_no_place_in_the_url_of_an_archive_and_are_not_shown(env: dict[str, str], url: str) -> None:
    with pytest.raises(Invalid, match="AWS_") as refused:
        config.load(env | {"MAESTRO_ARCHIVE_URL": url})
    assert "hunter2" not in refused.value.line()
