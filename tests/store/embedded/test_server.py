"""The embedded server: one for any number of starters, whatever state the last one left behind. Real processes."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from maestro.model.errors import StoreAway, StoreUnsafe
from maestro.store.embedded import embedded_server
from maestro.store.embedded.ballast import BALLAST_BYTES, disk_state, free_ballast, restore_ballast
from maestro.store.embedded.binary import find_binary, version_of
from maestro.store.redis.resp import dial
from tests.store.serving import BINARIES


@pytest.fixture
def home() -> Iterator[Path]:
    """A short home, whose server is ended with the test however that went."""
    folder = Path(tempfile.mkdtemp(prefix="mh"))
    yield folder / "home"
    end(folder / "home")
    shutil.rmtree(folder)


@pytest.fixture(params=BINARIES, ids=lambda path: path.name)
def binary(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def end(home: Path) -> None:
    """Kill the server of a home if its data is still open; it is ours, as the home is."""
    pid, lock = home / "store/server.pid", home / "store/data.lock"
    if lock.exists() and pid.exists() and is_held(lock):
        os.kill(int(pid.read_text()), signal.SIGKILL)
        wait_until(lambda: not is_held(lock))


def is_held(lock: Path) -> bool:
    descriptor = os.open(lock, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def wait_until(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def ask(url: str, *words: str | bytes | int) -> object:
    with dial(url, 10) as wire:
        return wire.call(*words)


def pid_of(url: str) -> int:
    info = ask(url, "INFO", "server")
    assert isinstance(info, bytes)
    return int(info.split(b"process_id:")[1].split(b"\r\n")[0])


def is_gone(pid: int) -> bool:
    """Ended; where the first process of a container reaps nobody, its entry stays as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def kill(home: Path, url: str) -> None:
    os.kill(pid_of(url), signal.SIGKILL)
    wait_until(lambda: not is_held(home / "store/data.lock"))


def test_it_starts_on_a_private_socket_with_the_settings_that_keep_events(home: Path, binary: Path) -> None:
    url = embedded_server.ensure(home, binary=binary)
    assert url == embedded_server.url(home)
    assert ask(url, "CONFIG", "GET", "appendonly") == [b"appendonly", b"yes"]
    assert ask(url, "CONFIG", "GET", "appendfsync") == [b"appendfsync", b"always"]
    assert ask(url, "CONFIG", "GET", "stream-node-max-bytes") == [b"stream-node-max-bytes", b"16384"]
    assert ask(url, "CONFIG", "GET", "save") == [b"save", b""]
    assert ask(url, "CONFIG", "GET", "maxmemory-policy") == [b"maxmemory-policy", b"noeviction"]
    assert ask(url, "CONFIG", "GET", "port") == [b"port", b"0"]
    socket = home / "store/store.sock"
    assert stat.S_ISSOCK(socket.stat().st_mode) and stat.S_IMODE(socket.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "store").stat().st_mode) == 0o700


def test_a_running_server_is_used_and_not_started_again(home: Path, binary: Path) -> None:
    first = pid_of(embedded_server.ensure(home, binary=binary))
    assert pid_of(embedded_server.ensure(home, binary=binary)) == first
    assert embedded_server.answers(home)


def test_it_lives_in_a_session_of_its_own_and_outlives_its_starter(home: Path) -> None:
    imports = "from pathlib import Path; from maestro.store.embedded import embedded_server"
    code = f"{imports}; embedded_server.ensure(Path({str(home)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert embedded_server.answers(home)
    assert os.getsid(pid_of(embedded_server.url(home))) != os.getsid(0)


def test_many_starters_at_once_give_one_server(home: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from maestro.store.embedded import embedded_server
from maestro.store.redis.resp import dial
from tests.store.serving import BINARIES
sys.stdin.read()
url = embedded_server.ensure(Path({str(home)!r}))
with dial(url, 30) as wire:
    print([line for line in wire.call("INFO", "server").split(b"\\r\\n") if line.startswith(b"process_id")])
"""
    gate, opener = os.pipe()
    starters = [
        subprocess.Popen([sys.executable, "-c", code], stdin=gate, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(40)
    ]
    os.close(gate)
    os.close(opener)  # all of them read the end of the file now
    results = [starter.communicate(timeout=60) for starter in starters]
    assert [error for _, error in results if error] == []
    assert len({output for output, _ in results}) == 1


def test_stop_ends_the_process_and_is_harmless_twice(home: Path, binary: Path) -> None:
    url = embedded_server.ensure(home, binary=binary)
    pid = pid_of(url)
    assert embedded_server.stop(home)
    assert is_gone(pid)
    assert not embedded_server.stop(home)
    assert not embedded_server.answers(home)


def test_what_was_acknowledged_is_there_after_a_stop_and_after_a_kill(home: Path, binary: Path) -> None:
    url = embedded_server.ensure(home, binary=binary)
    ask(url, "SET", "stopped", "1")
    embedded_server.stop(home)
    ask(embedded_server.ensure(home, binary=binary), "SET", "killed", "1")
    kill(home, url)
    assert ask(embedded_server.ensure(home, binary=binary), "MGET", "stopped", "killed") == [b"1", b"1"]
    assert any("without a shutdown" in line for line in embedded_server.incidents(home))


def test_a_stale_socket_file_is_no_obstacle(home: Path, binary: Path) -> None:
    url = embedded_server.ensure(home, binary=binary)
    kill(home, url)
    assert (home / "store/store.sock").exists()
    assert ask(embedded_server.ensure(home, binary=binary), "PING") == b"PONG"


def test_a_log_cut_short_by_a_crash_is_loaded_up_to_there(home: Path, binary: Path) -> None:
    url = embedded_server.ensure(home, binary=binary)
    ask(url, "SET", "whole", "1")
    ask(url, "SET", "torn", "1")
    kill(home, url)
    (log,) = (home / "store/data").rglob("*.incr.aof")
    os.truncate(log, log.stat().st_size - 3)
    assert ask(embedded_server.ensure(home, binary=binary), "MGET", "whole", "torn") == [b"1", None]


def test_a_damaged_log_is_refused_with_the_reason_and_a_remedy(home: Path, binary: Path) -> None:
    url = embedded_server.ensure(home, binary=binary)
    ask(url, "SET", "first", "1")
    ask(url, "SET", "second", "1")
    embedded_server.stop(home)
    (log,) = (home / "store/data").rglob("*.incr.aof")
    content = log.read_bytes()
    log.write_bytes(content.replace(b"*3", b"!3", 1))
    with pytest.raises(StoreUnsafe) as refused:
        embedded_server.ensure(home, binary=binary)
    assert "cannot load its data" in refused.value.line() and refused.value.mend
    assert "\n" not in refused.value.line()
    log.write_bytes(content)
    assert ask(embedded_server.ensure(home, binary=binary), "GET", "second") == b"1"


def test_it_waits_for_a_server_that_is_still_loading(home: Path, binary: Path) -> None:
    url = embedded_server.ensure(home, binary=binary)
    embedded_server.stop(home)
    (log,) = (home / "store/data").rglob("*.incr.aof")
    count = 300_000
    with log.open("ab") as file:
        file.writelines(b"*3\r\n$3\r\nSET\r\n$6\r\n%06d\r\n$1\r\n1\r\n" % number for number in range(count))
    assert ask(embedded_server.ensure(home, binary=binary), "DBSIZE") == count
    assert url == embedded_server.url(home)


def test_a_stopped_process_is_reported_and_used_again_when_it_goes_on(
    home: Path, binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_server, "SILENT_S_MAX", 0.2)  # however long one that starts is waited for
    url = embedded_server.ensure(home, binary=binary)
    pid = pid_of(url)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreAway, match=r"no answer since 0\.2 s") as away:
            embedded_server.ensure(home, binary=binary)
        assert str(pid) in away.value.line()
        assert away.value.exit_code == 5
    finally:
        os.kill(pid, signal.SIGCONT)
    assert pid_of(embedded_server.ensure(home, binary=binary)) == pid


def test_a_stopped_process_cannot_be_shut_down_but_ends_when_it_goes_on(home: Path, binary: Path) -> None:
    pid = pid_of(embedded_server.ensure(home, binary=binary))
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreAway, match=str(pid)):
            embedded_server.stop(home, wait_s=0.3)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: is_gone(pid))


def test_data_that_somebody_has_open_is_never_opened_twice(home: Path) -> None:
    """As while a killed server's child still rewrites the AOF: the lock is held, the socket is dead."""
    at = embedded_server.server_paths(home)
    descriptor = os.open(at.data_lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(StoreAway):
        embedded_server.ensure(home, wait_s=0.3)
    assert not at.data.exists()
    threading.Timer(0.2, os.close, (descriptor,)).start()
    assert ask(embedded_server.ensure(home), "PING") == b"PONG"


def test_kills_at_random_points_lose_nothing_that_was_acknowledged(home: Path, binary: Path) -> None:
    acknowledged = 0
    for _ in range(5):
        url = embedded_server.ensure(home, binary=binary)
        pid = pid_of(url)
        threading.Timer(0.03, os.kill, (pid, signal.SIGKILL)).start()
        try:
            with dial(url, 10) as wire:
                while True:
                    acknowledged = int(str(wire.call("INCR", "count")))
        except OSError:
            continue
    assert int(str(ask(embedded_server.ensure(home, binary=binary), "INCR", "count"))) - 1 in (
        acknowledged,
        acknowledged + 1,
    )


def test_a_home_too_long_for_a_socket_works_the_same(tmp_path: Path) -> None:
    home = tmp_path / ("long-" * 25)
    try:
        url = embedded_server.ensure(home)
        assert ask(url, "PING") == b"PONG"
        assert "long" not in url
    finally:
        embedded_server.stop(home)
        embedded_server.server_paths(home).socket.parent.rmdir()


def test_a_home_with_odd_characters_works_the_same(home: Path) -> None:
    odd = home.parent / 'a b%2F#?"é'
    try:
        assert ask(embedded_server.ensure(odd), "PING") == b"PONG"
    finally:
        assert embedded_server.stop(odd)


def test_a_stop_right_behind_the_start_stops_it_and_who_wants_it_starts_it_again(home: Path) -> None:
    """The process is there and has its data, but no socket yet."""
    with ThreadPoolExecutor(1) as starter:
        started = starter.submit(embedded_server.ensure, home)
        wait_until(lambda: (home / "store/data.lock").exists() and is_held(home / "store/data.lock"))
        assert embedded_server.stop(home)
        assert started.result() == embedded_server.url(home)
    embedded_server.stop(home)


def test_none_of_the_callers_secrets_stay_with_the_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "hunter2")
    pid = pid_of(embedded_server.ensure(home))
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"hunter2" not in environment
    assert all(tunable.encode() in environment for tunable in embedded_server.TUNABLES.split(":"))


def test_what_is_deleted_in_the_background_leaves_no_memory_behind(home: Path) -> None:
    """A thread that only frees kept two thousand blocks of each size up to a kilobyte: 64 MB."""
    url = embedded_server.ensure(home, "everysec")

    def memory() -> int:
        status = Path(f"/proc/{pid_of(url)}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) // 1024

    def put_and_delete() -> None:
        for start in range(0, 20_000, 1000):
            rows = ((f"row{row}", bytes(16 + row % 62 * 16)) for row in range(start, start + 1000))
            ask(url, "HSET", "rows", *(word for row in rows for word in row))
        ask(url, "UNLINK", "rows")
        wait_until(lambda: b"lazyfree_pending_objects:0" in cast(bytes, ask(url, "INFO", "memory")))

    put_and_delete()
    before = memory()
    for _ in range(3):
        put_and_delete()
    assert memory() - before < 16


def test_a_lock_that_cannot_be_made_is_one_line(home: Path) -> None:
    embedded_server.server_paths(home).start_lock.symlink_to("/elsewhere")
    with pytest.raises(StoreAway, match="cannot be locked"):
        embedded_server.ensure(home)


def test_everysec_is_there_for_benchmarks(home: Path) -> None:
    assert ask(embedded_server.ensure(home, "everysec"), "CONFIG", "GET", "appendfsync") == [
        b"appendfsync",
        b"everysec",
    ]


def test_the_log_of_the_server_does_not_grow_for_ever(home: Path) -> None:
    at = embedded_server.server_paths(home)
    at.log.write_bytes(b"x" * (embedded_server.LOG_BYTES_MAX + 1))
    embedded_server.ensure(home)
    assert at.log.stat().st_size < embedded_server.LOG_BYTES_MAX


def test_a_server_that_cannot_be_run_is_one_line(home: Path, tmp_path: Path) -> None:
    broken = tmp_path / "valkey-server"
    broken.write_text("no program")
    with pytest.raises(StoreAway) as away:
        embedded_server.ensure(home, binary=broken)
    assert "\n" not in away.value.line()
    script = tmp_path / "failing"
    script.write_text("#!/bin/sh\necho 'Bad directive'\nexit 1\n")
    script.chmod(0o755)
    with pytest.raises(StoreAway, match="Bad directive"):
        embedded_server.ensure(home, binary=script)


def test_the_binary_is_of_version_7_or_newer(tmp_path: Path) -> None:
    assert version_of(find_binary()) >= (7, 0)
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=6.2.7 sha=0'\n")
    old.chmod(0o755)
    assert version_of(old) == (6, 2, 7)
    assert version_of(tmp_path / "none") == ()


def test_the_ballast_is_kept_freed_and_put_back(home: Path) -> None:
    embedded_server.ensure(home)
    ballast = home / "store/ballast"
    assert ballast.stat().st_blocks * 512 >= BALLAST_BYTES
    assert disk_state(home).ballast
    assert free_ballast(home) and not free_ballast(home)
    assert not disk_state(home).ballast
    assert restore_ballast(home) and ballast.exists()
