"""The embedded server on a disk that fills up: it exits, comes back on its ballast and has every acknowledged write.

The disk is a small tmpfs in a mount namespace of its own, which takes root or user namespaces.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings

import pytest

SCRIPT = """
import json, os, sys
from pathlib import Path
from maestro.store.embedded import embedded_server
from maestro.store.embedded.ballast import disk_state
from maestro.store.redis.resp import dial

home = Path(sys.argv[1]) / "home"
acknowledged = []
low_seen = False

def fill(url):
    global low_seen
    try:
        with dial(url, 30) as wire:
            while True:
                low_seen = low_seen or disk_state(home).low
                wire.call("SET", len(acknowledged), os.urandom(1 << 20))
                acknowledged.append(len(acknowledged))
    except OSError:
        return True

def report(**more):
    with dial(embedded_server.url(home), 30) as wire:
        kept = sum(wire.call("STRLEN", key) == 1 << 20 for key in acknowledged)
    return {"acknowledged": len(acknowledged), "kept": kept, "ballast": disk_state(home).ballast, **more}

told = []
try:
    url = embedded_server.ensure(home)
    told.append(report())
    for _ in range(2):
        exited = fill(url)
        embedded_server.ensure(home)
        told.append(report(exited=exited, low_seen=low_seen, incident=embedded_server.incidents(home)[-1]))
finally:
    embedded_server.stop(home)
print(json.dumps(told))
"""
UNSHARE = ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private"]


def can_mount() -> bool:
    try:
        return subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0
    except OSError:
        return False


DISKS_MIB = [112] if can_mount() else []
if not DISKS_MIB:
    warnings.warn("a full disk is left out of the tests: no tmpfs can be mounted here", stacklevel=1)


@pytest.mark.parametrize("disk_mib", DISKS_MIB)
def test_a_full_disk_stops_the_server_which_comes_back_with_all_it_acknowledged(disk_mib: int) -> None:
    with tempfile.TemporaryDirectory(prefix="md") as folder:
        mount = f'mount -t tmpfs -o size={disk_mib}m none "$1" && exec "$2" -c "$3" "$1"'
        done = subprocess.run(
            [*UNSHARE, "sh", "-c", mount, "sh", folder, sys.executable, SCRIPT],
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    new, once, twice = json.loads(done.stdout)
    assert new["ballast"]
    assert once["exited"] and once["low_seen"] and not once["ballast"]
    assert once["kept"] == once["acknowledged"] > 20
    assert "disk was full; freed the ballast" in once["incident"]
    assert twice["exited"] and twice["kept"] == twice["acknowledged"] > once["acknowledged"]
    assert "no ballast was left" in twice["incident"]
