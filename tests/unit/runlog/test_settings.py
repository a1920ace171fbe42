"""Where the history is, and how much of it is kept."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from ipycron.errors import HistoryError, InvalidOption
from ipycron.runlog.settings import (
    MAX_BYTES,
    OFF,
    HistorySettings,
    find_settings,
    make_settings,
)


def test_default_is_in_the_folder_for_state(monkeypatch, tmp_path):
    """One file for each user, with a thousand runs a task, a month and 256 MiB."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    settings = find_settings({})
    assert settings == HistorySettings(
        path=os.fsencode(tmp_path / "state" / "ipycron" / "history.sqlite"),
        keep_runs=1000,
        keep_days=30,
        max_bytes=256 * 1024 * 1024,
    )
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("value", ["off", "OFF", " Off "])
def test_history_is_off_when_the_environment_says_so(value):
    """In any spelling."""
    assert find_settings({"IPYCRON_HISTORY": value}) is OFF
    assert OFF.file is None


def test_path_is_absolute_when_the_environment_has_a_relative_one(
    monkeypatch, tmp_path
):
    """A later change of the working directory does not move it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert find_settings({"IPYCRON_HISTORY": "a.db"}).file == tmp_path / "a.db"
    home = find_settings({"IPYCRON_HISTORY": "~/a.db"}).file
    assert home == Path("/home/me/a.db")


@pytest.mark.parametrize("value", [":memory:", "file:x?mode=memory", "folder/", "a\0b"])
def test_environment_without_a_file_is_an_error(value):
    """Each process would have its own, or none."""
    with pytest.raises(HistoryError, match="expected a path or off"):
        find_settings({"IPYCRON_HISTORY": value})


@pytest.mark.parametrize("home", ["", "relative", None])
def test_missing_home_is_an_error_that_names_the_way_out(home):
    """A container may run as a user that the system does not know."""
    program = (
        "import os, pwd\n"
        "def unknown(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = unknown\n"  # as for a user that is not in the table
        "from ipycron.errors import HistoryError\n"
        "from ipycron.runlog.settings import find_settings\n"
        "try: print(find_settings())\n"
        "except HistoryError as error: print(error)\n"
    )
    environ = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")}
    environ.pop("IPYCRON_HISTORY", None)
    environ.pop("HOME")
    if home is not None:
        environ["HOME"] = home
    told = subprocess.run(
        [sys.executable, "-c", program],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told == (
        "history: history.sqlite: this user has no home folder to keep it in. Set "
        "HOME, or set IPYCRON_HISTORY to the path of a file or to off.\n"
    )


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("keep_runs", 0, "a whole number of at least 1"),
        ("keep_runs", 1.5, "a whole number of at least 1"),
        ("keep_runs", True, "a whole number of at least 1"),
        ("keep_days", 0, "a number above 0"),
        ("keep_days", -1, "a number above 0"),
        ("keep_days", math.nan, "a number above 0"),
        ("keep_days", "30", "a number above 0"),
        ("max_bytes", 4096, "a whole number of at least 1048576"),
        ("max_bytes", None, "a whole number of at least 1048576"),
        ("path", 7, "the path of a file"),
        ("path", "", "the path of a file"),
        ("path", b"bytes", "the path of a file"),
        ("path", "~nobody-here/x", "the path of a file"),
    ],
)
def test_setting_out_of_range_is_refused(option, value, expected):
    """With what was expected."""
    given = {"path": "history.sqlite"} | {option: value}
    with pytest.raises(InvalidOption) as caught:
        make_settings(given.pop("path"), **given)
    assert (caught.value.option, caught.value.expected) == (option, expected)


@pytest.mark.parametrize("path", [None, "/a/b.sqlite", os.fsdecode(b"/a/\xff.sqlite")])
def test_settings_travel_to_another_process(path):
    """Also a path that is not text, and a number of days without end."""
    settings = make_settings(path, keep_days=math.inf)
    sent = msgspec.msgpack.encode(settings)
    assert msgspec.msgpack.decode(sent, type=HistorySettings) == settings
    assert settings.file == (None if path is None else Path(path))
    assert settings.max_bytes == MAX_BYTES


def test_nothing_of_the_history_is_loaded_by_the_import():
    """`import ipycron` stays cheap."""
    program = (
        "import sys, ipycron; print([m for m in sys.modules if m in "
        "('sqlite3', '_sqlite3', 'platformdirs') or m.startswith('ipycron.runlog')])"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert told.stdout == "[]\n"
