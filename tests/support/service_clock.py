"""A clock that a test sets for a service, and the books that are to balance by it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import psutil
from history_books import list_slots, read
from kept_service import PATIENCE, declare_file

SUPPORT = Path(__file__).parent
AHEAD = 20_000
LATER = 300  # than before: in the middle of the slots that were missed


class Clock:
    """The clock of a service and of all that it starts, beside that of the test."""

    def __init__(self, path, service):
        self._path = path
        self.shift = 0
        self.set(0)
        service.env |= {
            "PYTHONPATH": str(SUPPORT / "shifted"),
            "IPYCRON_TEST_SHIFT_FILE": str(path),
        }

    def set(self, shift):
        """Have it be so many seconds ahead of the test's."""
        new = self._path.with_name("clock-new")
        new.write_text(str(shift))
        new.replace(self._path)
        self.shift = shift

    def read(self):
        """Return its time."""
        return time.time() + self.shift  # noqa: TID251 - the machine's, as theirs


def declare(client, slots, catch_up):
    """Have a task kept that runs each second; return its id."""
    options = {"catch_up": catch_up, "tolerance": 5}
    return client.declare(declare_file(slots.job, "night", **options))


def await_runs(client, clock, least=2):
    """Return when slots have run that the clock, as it is set now, has reached."""
    since = clock.read()
    while least:
        run = client.wait_for("execution:finished").execution
        # What is caught up on may be of a time that the service has not left yet.
        is_new = since - 1 <= run.date <= since + PATIENCE
        least -= is_new and run.reason == "scheduled"


def end_all(service, how):
    """End the service and its supervisor, by a signal; return when they are gone."""
    family = service.find_family()
    for process in family[:1] if how is signal.SIGTERM else family[:2]:
        with contextlib.suppress(psutil.Error):
            process.send_signal(how)
    _, alive = psutil.wait_procs(family, PATIENCE)
    assert not alive


def read_books(service):
    """End the service; return the rows of no slot, and the slots of the others."""
    rows = read_rows(service)
    ahead = [row for row in rows if row["slot"] is None]
    return ahead, sorted(list_slots([row for row in rows if row["slot"] is not None]))


def read_rows(service):
    """End the service; return all rows."""
    assert service.end()
    return read("night", {**os.environ, **service.env})


def check_whole(slots):
    """Check that there is one row for every slot from the first one to the last."""
    assert len(slots) == len(set(slots)), "doubled"
    missing = set(range(slots[0], slots[-1] + 1)) - set(slots)
    assert not missing, f"missing: {sorted(missing)[:20]}"
