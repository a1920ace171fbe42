"""Whether the process that wrote is still there."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from ipycron.runlog.filesystem import find_kind, is_network
from ipycron.runlog.presence import find_own_presence, is_gone

OWN = find_own_presence()
ELSEWHERE = {"host": "elsewhere", "boot": "other/pid:[1]"}


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({}, False),
        ({"started": "1"}, True),
        ({"pid": 2**22 + 1}, True),
        ({"boot": "other/pid:[1]"}, True),
        ({"host": "renamed"}, False),
        ({"host": "renamed", "started": "1"}, True),
        (ELSEWHERE, False),
        ({**ELSEWHERE, "pid": 2**22 + 1}, False),
    ],
)
def test_process_is_gone_when_that_is_certain(changes, gone):
    """By number, start and boot; of another machine nothing is known."""
    assert is_gone(msgspec.structs.replace(OWN, **changes), OWN) is gone


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_process_is_gone_when_only_its_remains_are_left():
    """One that has ended and was not waited for is not there any more."""
    program = "import sys; from ipycron.runlog.presence import find_own_presence as f; "
    program += "import msgspec; sys.stdout.buffer.write(msgspec.json.encode(f()))"
    with subprocess.Popen([sys.executable, "-c", program], stdout=-1) as process:
        told = msgspec.json.decode(process.stdout.read(), type=type(OWN))
        assert told.pid == process.pid
        assert (told.host, told.boot) == (OWN.host, OWN.boot)
        import os  # noqa: PLC0415

        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert Path(f"/proc/{process.pid}").exists()
        assert is_gone(told, OWN)


MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:40 / /home rw shared:5 master:1 - nfs4 server:/home rw
31 22 0:41 / /mnt/a\\040b rw - fuse.sshfs me@host: rw
32 22 0:42 / /win rw - fuseblk /dev/sdb1 rw
broken line
"""


@pytest.mark.parametrize(
    ("device", "kind"),
    [("254:0", "ext4"), ("0:40", "nfs4"), ("0:41", "fuse.sshfs"), ("9:9", None)],
)
def test_kind_of_a_file_system_is_read_from_the_mounts(device, kind):
    """By its device's number; whatever the fields before and after are."""
    assert find_kind(MOUNTS, device) == kind


def test_folder_is_local_where_nothing_is_known(tmp_path):
    """A missing folder, and the disk of this machine."""
    assert not is_network(tmp_path)
    assert not is_network(tmp_path / "missing")


def test_presence_is_text_whatever_the_name_of_the_machine(monkeypatch):
    """Linux takes any bytes; SQLite does not."""
    monkeypatch.setattr(socket, "gethostname", lambda: "b\udcff 🕰")
    own = find_own_presence()
    assert own.host == "b\\udcff 🕰"
    assert not is_gone(own, own)
