"""The doctor: says what holds and what does not, each with the way out.

Every check has a thread of its own and a deadline: one that waits for a dead network
file system, or for a program of the system, is a finding like the others.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sqlite3
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import ipycron
from ipycron.errors import HistoryError, ServiceError
from ipycron.process.service import managed
from ipycron.process.service.paths import find_places, is_held
from ipycron.process.service.protocol import check_greeting, make_greeting
from ipycron.process.wire.printable import show_hidden
from ipycron.runlog.reading import Query, read_history
from ipycron.runlog.settings import find_settings
from ipycron.service import storage, surroundings
from ipycron.service.asking import ask_status, find_service
from ipycron.service.control import find_holders, find_process
from ipycron.service.findings import Finding
from ipycron.service.install import WITHOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ipycron.process.service.paths import Places
    from ipycron.process.service.protocol import StatusReport

DEADLINE = 10.0
"""Seconds for all checks together."""
_SHOWN_FAILURES = 3


def examine(
    environ: Mapping[str, str] = os.environ, deadline: float = DEADLINE
) -> list[Finding]:
    """Return what holds and what does not, in a fixed order. Nothing is changed.

    Args:
        environ: the environment; no value of it is in a finding but paths.
        deadline: seconds after which a check that has not ended is a failure.
    """
    checks: dict[str, Callable[[], Finding]] = {
        "culling": lambda: surroundings.check_culling(
            surroundings.find_configurations(environ)
        ),
        "hub": lambda: surroundings.check_hub(environ),
        "clock": surroundings.check_clock,
        "history": lambda: check_history(environ),
    }
    try:
        places = find_places(environ)
    except ServiceError as error:
        folder = Finding(check="folder", state="fail", found=show_hidden(error.reason))
        return [folder, *_run(checks, deadline)]
    folder_of_socket = places.socket.parent
    return _run(
        {
            "service": lambda: check_service(places),
            "tasks": lambda: check_tasks(places),
            "version": lambda: check_version(places),
            "boot": lambda: check_boot(places, environ),
            "logout": lambda: check_logout(places),
            "container": lambda: surroundings.check_container(
                surroundings.find_container(environ), places.folder
            ),
            **checks,
            "folder": lambda: storage.check_private("folder", places.folder),
            "socket": lambda: storage.check_private("socket", folder_of_socket),
            "file system": lambda: storage.check_file_system(places.folder),
            "disk space": lambda: storage.check_space(places.folder),
        },
        deadline,
    )


def _run(checks: dict[str, Callable[[], Finding]], deadline: float) -> list[Finding]:
    """Run checks side by side; return their findings in order."""
    found: dict[str, Finding] = {}

    def run(name: str, check: Callable[[], Finding]) -> None:
        try:
            finding = check()
        except Exception as error:  # noqa: BLE001 - a border: the others still count
            reason = show_hidden(f"{type(error).__name__}: {error}")
            finding = Finding(
                check=name, state="fail", found=f"it could not be checked: {reason}"
            )
        found.setdefault(name, finding)

    threads = [
        threading.Thread(target=run, args=item, name=f"ipycron-{item[0]}", daemon=True)
        for item in checks.items()
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + deadline
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    for name in checks:
        late = f"it could not be checked within {deadline:g} s"
        advice = "see whether a file system or a program of the system hangs: `mount`"
        found.setdefault(
            name, Finding(check=name, state="fail", found=late, advice=advice)
        )
    return [found[name] for name in checks]


def check_service(places: Places) -> Finding:
    """Check whether the service runs and answers."""
    try:
        report = ask_status(places)
    except ServiceError as error:
        return Finding(
            check="service",
            state="fail",
            found=show_hidden(error.reason),
            advice="`ipycron service restart`",
        )
    if report is not None:
        since = datetime.fromtimestamp(report.greeting.started_at)  # noqa: DTZ006
        runs = f", {report.running} running" if report.running else ""
        return Finding(
            check="service",
            state="ok",
            found=f"it runs and answers: process {report.greeting.pid} since "
            f"{since:%Y-%m-%d %H:%M:%S}, tasks: {report.tasks}{runs}",
        )
    if is_held(places):
        pids = ", ".join(map(str, find_holders(places))) or "not to be seen from here"
        return Finding(
            check="service",
            state="fail",
            found="it does not run, but processes of an earlier one have not ended: "
            f"processes {pids}",
            advice="wait for them or end them, then `ipycron service start`",
        )
    count = count_stored(places)
    if count:
        return Finding(
            check="service",
            state="fail",
            found=f"it does not run, and {count} kept tasks wait for it"
            if count > 1
            else "it does not run, and one kept task waits for it",
            advice="`ipycron service start`; `ipycron service log` says why it ended",
        )
    if count is None:
        return Finding(
            check="service",
            state="fail",
            found=f"it does not run, and its store cannot be read: {places.store}",
            advice="`ipycron service start` says what is wrong with it",
        )
    return Finding(
        check="service",
        state="ok",
        found="it does not run: no task is kept. It starts with the first one",
    )


def count_stored(places: Places) -> int | None:
    """Return how many tasks the store has; None if it cannot be read."""
    try:
        if not places.store.exists():
            return 0
        address = f"{places.store.as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as store:
            (count,) = store.execute("SELECT count(*) FROM tasks").fetchone()
    except (OSError, sqlite3.Error, ValueError):
        return None
    return int(count)


def check_tasks(places: Places) -> Finding:
    """Check whether every kept task is scheduled, and everything is written."""
    try:
        report = ask_status(places)
    except ServiceError:
        return _see_service("the service does not say whether they are scheduled")
    if report is not None:
        return _judge_tasks(report)
    if count_stored(places) == 0:
        return Finding(check="tasks", state="ok", found="no task is kept")
    return _see_service("none is scheduled: no service runs")


def _see_service(found: str) -> Finding:
    advice = "see `service` in this table"
    return Finding(check="tasks", state="fail", found=found, advice=advice)


def _judge_tasks(report: StatusReport) -> Finding:
    if report.store_error:
        return Finding(
            check="tasks",
            state="fail",
            found=f"changes are not stored: {show_hidden(report.store_error)}",
            advice="see `folder` and `disk space` in this table",
        )
    if report.failed:
        shown = [
            f"{show_hidden(task.name)} ({show_hidden(task.reason)})"
            for task in report.failed[:_SHOWN_FAILURES]
        ]
        left = len(report.failed) - len(shown)
        more = f", and {left} more" if left else ""
        return Finding(
            check="tasks",
            state="fail",
            found=f"{len(report.failed)} of {report.tasks} not scheduled: "
            f"{', '.join(shown)}{more}",
            advice="`ipycron show NAME` has the reason; mend it and `ipycron start "
            "NAME`, or `ipycron destroy NAME`",
        )
    if report.history_lost:
        return Finding(
            check="tasks",
            state="warn",
            found=f"{report.history_lost} rows of the history could not be written",
            advice="see `history` in this table",
        )
    return Finding(check="tasks", state="ok", found="all are scheduled")


def check_version(places: Places) -> Finding:
    """Check whether the running service is of this version and this Python."""
    own = make_greeting(ipycron.__version__)
    found = f"ipycron {own.version} on Python {own.python}"
    try:
        service = find_service(places)
    except ServiceError:
        return Finding(
            check="version",
            state="warn",
            found=f"this is {found}; the service does not say what it is",
            advice="`ipycron service restart`",
        )
    if service is None:
        return Finding(check="version", state="ok", found=found)
    try:
        check_greeting(own, service)
    except ServiceError as error:
        return Finding(
            check="version",
            state="fail",
            found=show_hidden(error.reason),
            advice="`ipycron service restart`, or restart the older process",
        )
    return Finding(check="version", state="ok", found=f"{found}, as the service")


def check_boot(places: Places, environ: Mapping[str, str] = os.environ) -> Finding:
    """Check whether the service starts with the system."""
    refusal = managed.find_refusal()
    if refusal is not None:
        return Finding(
            check="boot",
            state="warn",
            found=f"nothing starts the service with the system: {refusal}",
            advice=WITHOUT[0].lower() + WITHOUT[1:],
        )
    unit = managed.find_unit(places.folder, environ)
    if unit is None or not unit.exists():
        return Finding(
            check="boot",
            state="warn",
            found="the service starts with the next kept task, not with the system",
            advice="`ipycron service install`",
        )
    if managed.find_linger() is False:
        return Finding(
            check="boot",
            state="warn",
            found=f"{unit.name} starts when you log in, not with the system",
            advice="`loginctl enable-linger`",
        )
    return Finding(
        check="boot", state="ok", found=f"{unit.name} starts with the system"
    )


def check_logout(places: Places) -> Finding:
    """Check whether the running service outlives the session it was started in."""
    try:
        pid = find_process(places)
    except ServiceError:
        pid = None
    if pid is None:
        return Finding(check="logout", state="ok", found="no service runs")
    if platform.system() != "Linux":
        return Finding(
            check="logout", state="ok", found="a logout ends no process of this system"
        )
    try:
        group = Path(f"/proc/{pid}/cgroup").read_text("utf-8", "replace")
    except OSError:
        group = ""
    words = ("show-user", "--property=KillUserProcesses")
    answer = managed.ask("loginctl", *words, seconds=managed.QUERY_SECONDS)
    kills = answer.out == "KillUserProcesses=yes" if answer.is_ok else None
    return surroundings.check_session(
        surroundings.find_unit_of(group),
        own=f"{managed.make_name(places.folder)}.service",
        lingers=managed.find_linger(),
        kills=kills,
    )


def check_history(environ: Mapping[str, str]) -> Finding:
    """Check whether what happens is recorded, and can be read."""
    try:
        path = find_settings(environ).file
        if path is None:
            return Finding(
                check="history",
                state="warn",
                found="there is none (IPYCRON_HISTORY=off): after a gap nobody "
                "knows what was missed",
                advice="unset IPYCRON_HISTORY, also for the service",
            )
        if not path.exists():
            found = f"{path} will be created with the first row"
            return Finding(check="history", state="ok", found=found)
        read_history(path, Query(limit=1))
    except HistoryError as error:
        return Finding(
            check="history",
            state="fail",
            found=show_hidden(str(error)),
            advice="repair or remove the file, or set IPYCRON_HISTORY to another path",
        )
    if not os.access(path, os.W_OK):
        return Finding(
            check="history",
            state="fail",
            found=f"{path} cannot be written to",
            advice=f"make it yours: `chown {os.geteuid()} {path}`, `chmod 600 {path}`",
        )
    return Finding(check="history", state="ok", found=f"{path} can be read and written")


def is_healthy(findings: list[Finding]) -> bool:
    """Return whether nothing has failed."""
    return all(finding.state != "fail" for finding in findings)
