"""One cell of the fault matrix: a client, a target, a signal, and the outcome."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from polling import eventually, pause
from watching import MARK, find_living_children, find_marked, is_dead, read_command

READY_SECONDS = 40
"""Only the order matters before the fault; many cells start at the same time."""
STOP_SECONDS = 10
"""Longer than a start or a stop may take."""
DEADLY = (signal.SIGTERM, signal.SIGKILL)
"""Signals that end whoever gets them; the client may first wait for its runs."""
SHORT_STOP_SECONDS = 4
"""Not so long that a supervisor or a zygote is replaced."""


@dataclass(frozen=True)
class Expected:
    """What must be true soon after a fault.

    `start`, `execute` and `stop` are the ends of the subject's completions: an
    error's type, ``"ok"``, or None where there is none. `events` are the subject's
    after the fault, in this order and no others, with the type of their error.
    """

    status: str
    events: tuple = ()
    start: str | None = "ok"
    execute: str | None = None
    stop: str | None = None
    gone: frozenset = frozenset()
    restarted: frozenset = frozenset()


class Cell:
    """Runs one fault; `check` raises if something is not as expected."""

    def __init__(self, state):
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self.mark = uuid.uuid4().hex
        self.lines = []
        self._process = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name("fault_client.py")),
                str(self.folder),
                state,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, MARK: self.mark},
            text=True,
        )
        self._readers = [
            threading.Thread(target=self._read),
            threading.Thread(target=self._read_complaints),
        ]
        self.complaints = ""
        for reader in self._readers:
            reader.start()

    def _read(self):
        for line in self._process.stdout:
            self.lines.append({"at": time.monotonic(), **json.loads(line)})

    def _read_complaints(self):
        self.complaints = self._process.stderr.read()

    def find(self, **facts):
        """Return the lines with these values."""
        return [
            line
            for line in list(self.lines)
            if all(line.get(name) == value for name, value in facts.items())
        ]

    def wait_ready(self):
        """Return the pids of all targets, once the subject is in its state."""
        found = eventually(
            lambda: self.find(ready=True) or self._process.poll() is not None,
            f"the client is ready: {self.lines}",
            READY_SECONDS,
        )
        assert found is not True, f"the client failed: {self.complaints}"
        client = found[0]["client"]
        (supervisor,) = (
            pid
            for pid in find_living_children(client)
            if read_command(pid) == "supervisor"
        )
        (zygote,) = find_living_children(supervisor)
        return {
            "client": client,
            "supervisor": supervisor,
            "zygote": zygote,
            "neighbour": found[0]["neighbour"],
            "worker": int((self.folder / "worker").read_text()),
            "grandchild": int((self.folder / "helper").read_text()),
        }

    def strike(self, pid, number, stop_seconds=STOP_SECONDS):
        """Send the signal; resume a suspended process after a while.

        Returns the instants of the fault and of its end.
        """
        at = time.monotonic()
        os.kill(pid, number)
        if number in DEADLY and pid != self._process.pid:
            # What it ends must not end by itself before, however busy the machine is.
            eventually(lambda: is_dead(pid), f"{pid} is dead", READY_SECONDS)
        (self.folder / "struck").touch()
        if number == signal.SIGSTOP:
            pause(stop_seconds)
            with contextlib.suppress(ProcessLookupError):  # it did not live that long
                os.kill(pid, signal.SIGCONT)
        return at, time.monotonic()

    def get_events(self, task, since):
        """Return a task's events since an instant, as "event" or "event error"."""
        return [
            line["event"] if line["error"] is None else tuple_of(line)
            for line in self.find(task=task)
            if line["at"] >= since
        ]

    def get_end(self, name):
        """Return how a completion ended: "ok", an error's type, or None."""
        found = self.find(completion=name)
        if not found:
            return None
        return found[0]["error"] or "ok"

    def leave(self):
        """Have the client shut down; return its last output."""
        self._process.stdin.close()
        self._process.wait(30)
        for reader in self._readers:
            reader.join(10)
        return self.find(bye=True)

    def close(self):
        """Kill everything that is left, and say what it was."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(0.01)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        left = find_marked(self.mark)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        for reader in self._readers:
            reader.join(10)
        self._process.stdout.close()
        self._process.stderr.close()
        self._folder.cleanup()
        return left


def tuple_of(line):
    """Return an event with its error."""
    return f"{line['event']} {line['error']}"


def are_dead(pids):
    """Return whether all of these processes are gone."""
    return all(is_dead(pid) for pid in pids)
