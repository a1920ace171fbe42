"""The system's manager of services, where it is, is not, hangs or answers nonsense."""

import os
import sys
from pathlib import Path

import pytest

from ipycron.process.service import managed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder that is the whole PATH; returns a function that adds a program."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def add(name, script):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return add


def test_name_is_another_for_each_folder(tmp_path):
    """Two environments do not collide, and one has one name."""
    names = {managed.make_name(tmp_path / name) for name in ("a", "b", "a/b")}
    assert len(names) == 3
    assert managed.make_name(tmp_path / "a") in names
    assert all(name.startswith("ipycron-") and name.isascii() for name in names)


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"HOME": "/home/u"}, "/home/u/.config/systemd/user"),
        ({"HOME": "/home/u", "XDG_CONFIG_HOME": "/c"}, "/c/systemd/user"),
        ({"HOME": "/home/u", "XDG_CONFIG_HOME": "c"}, "/home/u/.config/systemd/user"),
        ({}, None),
        ({"HOME": ""}, None),
    ],
)
def test_unit_is_where_systemd_looks(environ, folder):
    """Nowhere without a home folder."""
    unit = managed.find_unit(Path("/state"), environ)
    assert (None if unit is None else str(unit.parent)) == folder


def test_missing_program_is_an_answer(programs):
    """As in a container: no error, no wait."""
    answer = managed.ask("systemctl", "show")
    assert (answer.is_found, answer.is_ok) == (False, False)
    assert answer.error == "there is no systemctl on this system"
    assert managed.find_refusal() == "this system has no systemd"
    assert managed.find_linger() is None
    assert managed.find_main_pid(Path("/state")) is None


def test_program_that_hangs_is_ended(programs):
    """It never answers; we do."""
    programs("systemctl", "exec /bin/sleep 1000")
    answer = managed.ask("systemctl", "show", seconds=0.2)
    assert (answer.is_found, answer.code) == (True, None)
    assert answer.error == "systemctl has not answered in 0.2 s"


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("echo >&2; echo first >&2; echo second >&2; exit 1", "first"),
        ("exit 3", "exit code 3"),
        ("printf '\\377\\n' >&2; exit 1", "\N{REPLACEMENT CHARACTER}"),
        ("kill -9 $$", "exit code -9"),
    ],
)
def test_failure_is_one_line(programs, script, error):
    """The first that it has written."""
    programs("systemctl", script)
    answer = managed.ask("systemctl")
    assert not answer.is_ok
    assert answer.error == error


def test_file_that_is_no_program_is_an_answer(programs, tmp_path):
    """Its interpreter is not there."""
    programs("loginctl", "")
    (tmp_path / "bin/loginctl").write_text("#!/nowhere\n")
    assert managed.ask("loginctl").error.startswith("loginctl cannot be run: ")


@pytest.mark.parametrize(
    "said", ["MainPID=0", "MainPID=", "nonsense", "MainPID=1\nX=2"]
)
def test_main_process_of_no_unit_is_none(programs, said):
    """Whatever an old systemd says."""
    programs("systemctl", f"printf '{said}'")
    assert managed.find_main_pid(Path("/state")) is None


def test_system_that_was_not_booted_by_systemd_is_said(programs):
    """As most containers that have its programs."""
    if Path("/run/systemd/system").is_dir():
        pytest.skip("this one was")
    programs("systemctl", "echo 'Failed to connect to bus' >&2; exit 1")
    assert "was not started by systemd" in managed.find_refusal()


def test_nothing_is_asked_where_no_unit_is_installed(programs, tmp_path, monkeypatch):
    """The first kept task waits for nothing."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    asked = tmp_path / "asked"
    programs("systemctl", f"echo >{asked}; exit 1")
    assert not managed.start_managed(tmp_path)
    assert not asked.exists()
    unit = managed.find_unit(tmp_path)
    unit.parent.mkdir(parents=True)
    unit.write_text("")
    assert not managed.start_managed(tmp_path)  # refused: started without it
    assert asked.exists()


def test_way_to_the_users_instance_is_found_without_the_variable(programs, monkeypatch):
    """`su` and cron leave it out."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    programs("systemctl", 'echo "$XDG_RUNTIME_DIR $LC_ALL"')
    assert managed.ask_systemd("show").out == f"/run/user/{os.getuid()} C"
