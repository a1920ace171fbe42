"""What explains a failing test: which processes were alive, and their output.

Also what a program printed that ended with an error, or not at all: `subprocess` keeps
it in its exception, and says only which program it was.

A pytest plugin; the first conftest registers it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from watching import SESSION, find_family, find_marked, read_command, read_stat

LAST_BYTES = 2000
"""Of each stream: its end is what matters."""
PATIENCE = 10.0
"""Seconds for the client, which may be what hangs."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Add information about processes to the report of a failure."""
    report = yield
    if report.failed:
        pids = find_ours()
        error = None if call.excinfo is None else call.excinfo.value
        sections = {
            "the program's last lines": describe_program(error),
            "processes alive": describe_processes(pids),
            "supervisor's last lines": describe_supervisors(pids),
            "tasks and workers' last lines": describe_tasks_in_time(),
        }
        report.sections += [(name, text) for name, text in sections.items() if text]
    return report


def describe_program(error):
    """Return what a program printed that `subprocess` has raised an error for."""
    if not isinstance(error, subprocess.CalledProcessError | subprocess.TimeoutExpired):
        return ""
    lines = []
    for name in ("stdout", "stderr"):
        said = getattr(error, name) or b""
        said = said.encode() if isinstance(said, str) else said
        text = said[-LAST_BYTES:].decode("utf-8", "replace").strip()
        lines.append(f"{name}: {text or '(nothing)'}")
    return "\n".join(lines)


def find_ours():
    """Return the processes that this test session has started, parents first."""
    family = find_family()
    orphans = find_marked(os.environ.get(SESSION, "-"))
    return [*family, *sorted(orphans.keys() - {*family, os.getpid()})]


def describe_processes(pids):
    """Return a line for each process."""
    up = float(Path("/proc/uptime").read_text().split()[0])
    tick = os.sysconf("SC_CLK_TCK")
    lines = []
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended in the meantime
            state, parent, *rest = read_stat(pid)
            seconds = up - int(rest[17]) / tick
            command = read_command(pid) or "(zombie)"
            if command == read_command(parent) == "zygote":
                command = "worker"  # a fork of the zygote, recognised by its name
            lines.append(f"{pid:>7} of {parent:>7} {state} {seconds:7.1f} s  {command}")
    return "\n".join(lines)


def describe_supervisors(pids):
    """Return the supervisors' stderr, from their own files."""
    texts = []
    for pid in pids:
        with contextlib.suppress(OSError):
            path = Path(f"/proc/{pid}/fd/2")
            # A worker's stderr is a pipe, which only its supervisor may read.
            if read_command(pid) == "supervisor" and stat.S_ISREG(path.stat().st_mode):
                said = path.read_bytes()[-LAST_BYTES:].decode("utf-8", "replace")
                texts.append(f"{pid}: {said.strip() or '(nothing)'}")
    return "\n".join(texts)


def describe_tasks_in_time():
    """Return the state of this process's client, unless it hangs."""
    module = sys.modules.get("ipycron.client.registry")
    client = module and module.registry.running_client
    if client is None:
        return ""
    told = []
    thread = threading.Thread(target=lambda: told.append(describe_tasks(client)))
    thread.daemon = True
    thread.start()
    thread.join(PATIENCE)
    return told[0] if told else f"(the client did not answer within {PATIENCE:g} s)"


def describe_tasks(client):
    """Return each task with its last run and the runs in progress."""
    lines = []
    for task in list(client.tasks.values()):
        lines.append(repr(task.handle))
        runs = [*task.observed.running, task.observed.last_run]
        lines += [line for run in runs if run is not None for line in describe_run(run)]
    return "\n".join(lines)


def describe_run(run):
    """Return a run, and the end of its job's output."""
    yield f"  {run!r}, worker {run.pid}"
    for name in ("stdout", "stderr"):
        text = getattr(run.output, name)[-LAST_BYTES:].strip()
        if text:
            yield f"    {name}: " + text.replace("\n", "\n      ")
