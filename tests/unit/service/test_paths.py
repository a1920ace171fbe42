"""Where the service of a user and an environment is."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import sys
from pathlib import Path

import msgspec
import pytest

from ipycron.errors import ServiceError
from ipycron.process.service.paths import (
    MAX_SOCKET_BYTES,
    VARIABLE,
    Holder,
    find_places,
    find_socket,
    is_held,
    make_private,
)


@pytest.fixture
def places(tmp_path):
    """The files of a service in a folder of the test."""
    found = find_places({VARIABLE: str(tmp_path / "service")})
    make_private(found.folder)
    return found


def hold(places, **changes):
    """Write a lock file as a service does."""
    facts = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "socket": str(places.socket),
        "version": "1",
        "started_at": 0.0,
    }
    places.lock.write_bytes(msgspec.json.encode(Holder(**(facts | changes))))


def test_each_environment_has_a_service_of_its_own(monkeypatch, tmp_path):
    """Folder, lock and socket depend on `sys.prefix`; nothing is created."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    mine = find_places()
    monkeypatch.setattr(sys, "prefix", "/another/environment")
    other = find_places()
    assert mine.folder.parent == tmp_path / "state" / "ipycron" / "service"
    assert mine.socket.parent == Path("/run/user/1/ipycron")
    assert mine.folder != other.folder
    assert mine.socket != other.socket
    assert not (tmp_path / "state").exists()


def test_variable_names_a_folder_for_everything(tmp_path):
    """Tests, and people without a home folder, have it elsewhere."""
    found = find_places({VARIABLE: str(tmp_path)})
    paths = msgspec.structs.asdict(found)
    del paths["socket"]  # possibly too long for this folder
    assert all(tmp_path in (path, path.parent) for path in paths.values())


@pytest.mark.parametrize("value", ["relative/folder", "~/folder"])
def test_variable_that_is_no_absolute_path_is_refused(value):
    """It would be another folder for each process."""
    with pytest.raises(ServiceError, match=f"{VARIABLE} is '{value}', expected"):
        find_places({VARIABLE: value})


def test_socket_moves_when_its_path_is_too_long():
    """The system allows 107 bytes; the hash of the folder keeps the socket unique."""
    folder = "/" + "ä" * 60
    found = find_places({VARIABLE: folder})
    other = find_places({VARIABLE: folder + "ö"})
    assert found.folder == Path(folder)
    assert len(os.fsencode(found.socket)) <= MAX_SOCKET_BYTES
    assert found.socket != other.socket


def test_error_says_what_to_do_when_no_short_path_is_left(monkeypatch):
    """With its length, the limit, and the variables that help."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/" + "t" * 120)
    with pytest.raises(ServiceError, match=r"too long: .* has 128 bytes, .* 107\. Set"):
        find_places({VARIABLE: "/" + "s" * 120})


@pytest.mark.parametrize("mode", [0o777, 0o755, 0o770, 0o000, 0o500])
def test_folder_is_closed_to_others(tmp_path, mode):
    """Also one that exists, or that this user could not use."""
    folder = tmp_path / "service"
    folder.mkdir()
    folder.chmod(mode)
    make_private(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_link_in_place_of_the_folder_is_refused(tmp_path):
    """In a folder that all may write to, it may be another user's."""
    (tmp_path / "real").mkdir()
    (tmp_path / "service").symlink_to(tmp_path / "real")
    with pytest.raises(ServiceError, match="is not a folder"):
        make_private(tmp_path / "service")


def test_file_in_place_of_the_folder_is_refused(tmp_path):
    """With the path, and what to do."""
    (tmp_path / "service").write_text("")
    with pytest.raises(ServiceError, match=r"service is not a folder\. Remove it, or"):
        make_private(tmp_path / "service")


def test_file_in_place_of_a_folder_above_is_named(tmp_path):
    """It is the one to be removed."""
    (tmp_path / "above").write_text("")
    with pytest.raises(ServiceError, match=r"above is not a folder\. Remove it, or"):
        make_private(tmp_path / "above" / "more" / "service")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_folder_of_another_user_is_refused(tmp_path):
    """It is neither used nor changed."""
    folder = tmp_path / "service"
    folder.mkdir(mode=0o755)
    os.chown(folder, 4711, 4711)
    with pytest.raises(ServiceError, match="another user's \\(uid 4711\\)"):
        make_private(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_socket_is_where_the_lock_file_says(places, tmp_path):
    """The service may have been started with another runtime folder."""
    assert find_socket(places) is None
    elsewhere = tmp_path / "elsewhere"
    hold(places, socket=str(elsewhere))
    assert find_socket(places) is None
    elsewhere.write_text("")
    assert find_socket(places) == elsewhere


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": 1}', b"\xff\x00"])
def test_broken_lock_file_counts_as_none(places, content):
    """A service that was just started, or was killed, may have left it so."""
    places.lock.write_bytes(content)
    assert find_socket(places) is None


def test_service_of_another_machine_is_named(places):
    """A shared home folder: its socket would be found, and would not answer."""
    hold(places, host="elsewhere")
    assert find_socket(places) is None  # nobody holds the lock: it has ended
    with places.lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert is_held(places)
        with pytest.raises(ServiceError, match="another machine, elsewhere, which"):
            find_socket(places)
    assert not is_held(places)
