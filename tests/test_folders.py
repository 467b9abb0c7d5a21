"""The folders of an installation: opened safely, for this user only, with short socket paths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maestro import config, folders
from maestro.folders import SOCKET_PATH_BYTES_MAX, private_folder, socket_path
from maestro.model.errors import Invalid, Refused


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "PATH": str(tmp_path / "bin")}


def test_the_home_and_the_root_are_made_for_this_user_only(env: dict[str, str], tmp_path: Path) -> None:
    settings = config.load(env | {"MAESTRO_WORKSPACE_ROOT": str(tmp_path / "a/b/root")})
    assert config.open_home(settings).stat().st_mode & 0o777 == 0o700
    assert config.open_workspace_root(settings).stat().st_mode & 0o777 == 0o700


def test_a_home_open_to_others_is_closed_and_a_root_that_all_may_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(Refused, match="chmod o-w"):
        private_folder(folder, "MAESTRO_WORKSPACE_ROOT")
    private_folder(folder, "MAESTRO_HOME", tighten=True)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_symlink_is_refused_wherever_it_leads(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("link", "dangling"):
        with pytest.raises(Refused, match="symlink"):
            private_folder(tmp_path / name, "MAESTRO_WORKSPACE_ROOT")
    assert not (tmp_path / "nowhere").exists()


def test_a_file_in_the_place_of_a_folder_is_invalid(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(Invalid, match="file"):
            private_folder(path, "MAESTRO_WORKSPACE_ROOT")


def test_the_root_of_the_file_system_is_no_workspace_root(env: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        config.open_workspace_root(config.load(env | {"MAESTRO_WORKSPACE_ROOT": "/"}))


def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    """As root the folder is given away; as anybody else, root's / is another user's."""
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    if os.geteuid() == 0:
        os.chown(foreign, 12345, 12345)
    else:
        foreign = Path("/usr")
    with pytest.raises(Refused, match="another user"):
        private_folder(foreign, "MAESTRO_WORKSPACE_ROOT")


def test_a_short_home_has_its_sockets_in_it(tmp_path: Path) -> None:
    assert socket_path(Path("/h"), "daemon.sock") == Path("/h/daemon.sock")
    edge = Path("/" + "x" * (SOCKET_PATH_BYTES_MAX - len("/") - len("/daemon.sock")))
    assert socket_path(edge, "daemon.sock") == edge / "daemon.sock"


def test_a_long_home_has_short_sockets_of_its_own_the_same_for_every_process(tmp_path: Path) -> None:
    home = tmp_path / ("long-" * 30)
    path = socket_path(home, "store/store.sock")
    assert len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX
    assert path == socket_path(home, "store/store.sock")
    assert path != socket_path(home, "daemon.sock")
    other = socket_path(tmp_path / ("other" * 30), "store/store.sock").parent
    assert path.parent != other
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.parent.parent.stat().st_mode & 0o777 == 0o700
    path.parent.rmdir()
    other.rmdir()


def test_a_short_socket_folder_that_somebody_else_made_first_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "SHORT_PARENT", tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"maestro-{os.geteuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="symlink"):
        socket_path(tmp_path / ("long-" * 30), "daemon.sock")
