# ruff: noqa: D103 - helpers are plain
"""Background tasks in zones that have no IANA name."""

from __future__ import annotations

import os
import subprocess
import sys
import zoneinfo
from datetime import timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import dateutil.tz
import pytest
from house import NEVER
from polling import SECONDS

import ipycron
from ipycron.errors import StartError

TOKYO = Path("/usr/share/zoneinfo/Asia/Tokyo")


def read_zone(key):
    with TOKYO.open("rb") as file:
        return ZoneInfo.from_file(file, key=key)


ZONES = {
    "file": lambda: read_zone("Office/Tokyo"),
    "dateutil": lambda: dateutil.tz.gettz("Asia/Tokyo"),
    "named-offset": lambda: timezone(timedelta(hours=9), "Office"),
}


@pytest.mark.parametrize("kind", ZONES)
def test_worker_has_the_rules_of_a_zone_without_a_name(kind):
    """The slot in the job's context has the zone's offset and name."""
    zone = ZONES[kind]()
    task = ipycron.create_task(
        NEVER,
        lambda ctx: (ctx.date.utcoffset(), ctx.task.timezone),
        timezone=zone,
        background=True,
    )
    task.start().result(SECONDS)
    offset, name = task.execute().result(SECONDS)
    assert offset == timedelta(hours=9)
    assert name == task.timezone == str(zone)


SCRIPT = """
import ipycron, sys
def job(ctx):
    return str(ctx.date.utcoffset())
with_name = ipycron.create_task("0 9 * * *", job, background=True)
with_name.start().result(20)
print(with_name.execute().result(20), with_name.timezone)
ipycron.shutdown()
"""


def run_script(tz):
    """Run a script with a background task in the system's zone."""
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "TZ": tz},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("tz", ["EST5", "file"])
def test_background_task_runs_in_the_zone_of_the_variable(tz, tmp_path):
    """``TZ`` as a POSIX string, or as a file outside the database."""
    path = tmp_path / "zone"
    path.write_bytes(TOKYO.read_bytes())
    ended = run_script(str(path) if tz == "file" else tz)
    assert not ended.stderr
    wanted = f"9:00:00 {path}" if tz == "file" else "-1 day, 19:00:00 EST5"
    assert ended.stdout.strip() == wanted


def test_variable_that_names_no_zone_is_one_error(tmp_path):
    """It is raised when the task is created, as our own error."""
    ended = run_script("Foo/Bar")
    *_, last = ended.stderr.strip().splitlines()
    assert last.startswith(
        "ipycron.errors.UnknownTimezone: the environment variable TZ: got 'Foo/Bar'"
    )


def test_registration_that_fails_is_reported_as_that_failure(tmp_path):
    """The supervisor cannot see the client's folder of zones: it says so."""
    (tmp_path / "Office").mkdir()
    (tmp_path / "Office" / "Tokyo").write_bytes(TOKYO.read_bytes())
    zoneinfo.reset_tzpath([tmp_path])
    try:
        task = ipycron.create_task(
            NEVER, lambda: 1, timezone="Office/Tokyo", background=True
        )
    finally:
        zoneinfo.reset_tzpath()
    with pytest.raises(StartError, match=r"could not be registered, .*Office/Tokyo"):
        task.start().result(SECONDS)
    assert task.status == "stopped"
    task.stop().result(SECONDS)
    task.destroy().result(SECONDS)
    assert task.status == "destroyed"
    assert task.id not in ipycron.get_tasks()
