"""`ipycron serve`, `ipycron service …` and `ipycron doctor`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import textwrap
import threading
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ipycron.errors import ServiceError
from ipycron.process.wire.printable import keep_colours, show_hidden

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import IO

    from ipycron.process.service.paths import Places
    from ipycron.process.service.protocol import StatusReport
    from ipycron.service.findings import Finding
    from ipycron.service.install import Installation

NOT_RUNNING = 3
"""The exit code of `service status` where no service runs, as of `systemctl status`."""
SHOWN_LINES = 50
POLL = 0.5
"""Seconds between two looks at the log for `-f`."""
_TIMEOUT = 90.0
_WIDEST = 100
_WIDTHS = (13, 5)
"""Of the doctor's first two columns."""


def add_serve(commands: Any) -> None:
    """Add the command `serve`."""
    serve = commands.add_parser(
        "serve",
        help="run the service of kept tasks in the foreground",
        description="Run the service of kept tasks in the foreground, until SIGTERM or "
        "Ctrl-C. For containers and service managers; elsewhere the first kept task "
        "starts it.",
        epilog="Exit code: 0 when it was told to end, 75 if another service of this "
        "Python environment runs, 78 if it cannot be set up.",
    )
    serve.add_argument(
        "--log", action="store_true", help="write to the service's log, not to stderr"
    )
    serve.set_defaults(run=_serve)


def add_service(commands: Any) -> None:
    """Add the command `service` with its commands."""
    service = commands.add_parser(
        "service",
        help="control the service that runs kept tasks",
        description="The service runs kept tasks: one process for each user and Python "
        "environment. The first kept task starts it, and it survives the kernel, "
        "the terminal and a logout.",
        epilog="IPYCRON_SERVICE_DIR sets the folder of its files.",
    )
    actions = service.add_subparsers(required=True, metavar="ACTION")
    _add(actions, "start", _start, "start it unless it is running")
    _add(
        actions,
        "status",
        _print_status,
        "show whether it is running, and how many tasks it has",
        epilog=f"Exit code: 0 if it runs and answers, {NOT_RUNNING} if none runs, 2 if "
        "it does not answer or is of another version.",
    )
    log = _add(actions, "log", _print_log, "print the end of its log", is_json=False)
    count = f"how many lines ({SHOWN_LINES})"
    log.add_argument("-n", type=_count, default=SHOWN_LINES, help=count)
    log.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C")
    for name, run, text in (
        (
            "restart",
            _restart,
            "stop it and start it again, for example after an upgrade",
        ),
        ("stop", _stop, "stop it; kept tasks wait for its next start"),
    ):
        action = _add(actions, name, run, text)
        action.add_argument(
            "--timeout",
            type=_seconds,
            default=_TIMEOUT,
            metavar="SECONDS",
            help=f"kill it after that ({_TIMEOUT:g}); runs get up to 60 s to end",
        )
    _add(
        actions,
        "install",
        _install,
        "have the system start it: a systemd user unit, or a launchd agent",
    )
    _add(actions, "uninstall", _uninstall, "remove that unit; the tasks stay")


def _add(
    actions: Any,
    name: str,
    run: Any,
    text: str,
    *,
    epilog: str = "",
    is_json: bool = True,
) -> Any:
    description = f"{text[0].upper()}{text[1:]}."
    action = actions.add_parser(
        name, help=text, description=description, epilog=epilog or None
    )
    if is_json:
        action.add_argument("--json", action="store_true", help="write a JSON object")
    action.set_defaults(run=run)
    return action


def add_doctor(commands: Any) -> None:
    """Add the command `doctor`."""
    doctor = commands.add_parser(
        "doctor",
        help="check what kept tasks depend on, and say what to do",
        description="Check what kept tasks depend on: the service, the system that it "
        "runs on, its files, the clock. Changes nothing.",
        epilog="Exit code: 1 if any check fails, else 0. --json writes one object per "
        "line.",
    )
    doctor.add_argument("--json", action="store_true", help="write JSON lines")
    doctor.set_defaults(run=_examine)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number from 1")
    return int(text)


def _seconds(text: str) -> float:
    from ipycron.triggers.durations import read_duration  # noqa: PLC0415 - for few

    seconds = 0.0 if text == "0" else read_duration(text)
    if seconds is None:
        raise argparse.ArgumentTypeError(
            f"got {text!r}, expected a time such as 90 or 5m"
        )
    return seconds


def find_own_places() -> Places:
    """Return where the service of this environment is."""
    from ipycron.process.service.paths import find_places  # noqa: PLC0415 - as below

    return find_places()


def _serve(given: argparse.Namespace) -> int:
    from ipycron.process.service.paths import (  # noqa: PLC0415 - for this command only
        EXIT_SETUP,
        make_private,
    )

    try:
        places = find_own_places()
        if given.log:
            make_private(places.folder)
            _write_to_log(places)
        from ipycron.service.daemon import serve  # noqa: PLC0415 - as above

        return serve(places)
    except ServiceError as error:
        print(f"ipycron: {error}", file=sys.stderr, flush=True)
        return EXIT_SETUP


def _write_to_log(places: Places) -> None:
    from ipycron.service.log import write_to_log  # noqa: PLC0415 - as above

    try:
        write_to_log(places)
    except OSError as error:
        reason = f"its log {places.log} cannot be written: {error.strerror}"
        raise ServiceError(reason=reason) from error


def _start(given: argparse.Namespace) -> int:
    from ipycron.service.control import start  # noqa: PLC0415 - for this command only

    pid, is_new = start(find_own_places())
    if given.json:
        _write_json({"pid": pid, "is_new": is_new})
    elif is_new:
        print(f"started: process {pid}")
    else:
        print(f"already running: process {pid}")
    return 0


def _stop(given: argparse.Namespace) -> int:
    from ipycron.service.control import stop  # noqa: PLC0415 - for this command only

    pid = stop(find_own_places(), given.timeout)
    if given.json:
        _write_json({"pid": pid})
    elif pid is None:
        print("no service runs")
    else:
        print(f"stopped: process {pid}; `ipycron service start` starts it again")
    return 0


def _restart(given: argparse.Namespace) -> int:
    from ipycron.service.control import restart  # noqa: PLC0415 - for this command only

    stopped, started = restart(find_own_places(), given.timeout)
    if given.json:
        _write_json({"stopped": stopped, "pid": started})
    elif stopped is None:
        print(f"started: process {started}; none ran")
    else:
        print(f"restarted: process {started} instead of {stopped}")
    return 0


def _print_status(given: argparse.Namespace) -> int:
    from ipycron.service.asking import ask_status  # noqa: PLC0415 - as above

    places = find_own_places()
    report = ask_status(places)
    if given.json:
        _write_json(_describe_status(places, report))
    elif report is None:
        print("no service runs: `ipycron service start`, or a kept task, starts it")
    else:
        for label, value in _list_status(places, report):
            print(f"{label:<14}{value}")
    if report is None:
        return NOT_RUNNING
    _check_version(report)
    return 0


def _check_version(report: StatusReport) -> None:
    """Raise `ServiceError` if the service is of another version."""
    from ipycron import __version__  # noqa: PLC0415 - this package's own
    from ipycron.process.service.protocol import (  # noqa: PLC0415 - as above
        check_greeting,
        make_greeting,
    )

    sys.stdout.flush()
    check_greeting(make_greeting(__version__), report.greeting)


def _describe_status(places: Places, report: StatusReport | None) -> dict[str, Any]:
    files = {"folder": str(places.folder), "log": str(places.log)}
    if report is None:
        return {"is_running": False, **files}
    return {
        "is_running": True,
        "pid": report.greeting.pid,
        "supervisor": report.supervisor,
        "started_at": _format_instant(report.greeting.started_at, "T"),
        "version": report.greeting.version,
        "python": report.greeting.python,
        "tasks": report.tasks,
        "running": report.running,
        "clients": report.clients,
        "failed": [{"name": t.name, "reason": t.reason} for t in report.failed],
        "history_waiting": report.history_waiting,
        "history_lost": report.history_lost,
        "store_error": report.store_error or None,
        **files,
    }


def _list_status(
    places: Places, report: StatusReport
) -> Iterable[tuple[str, str | int]]:
    since = _format_instant(report.greeting.started_at, " ")
    yield "process", f"{report.greeting.pid}, since {since}"
    yield (
        "version",
        f"ipycron {report.greeting.version}, Python {report.greeting.python}",
    )
    failed = f", {len(report.failed)} not scheduled:" if report.failed else ""
    yield "tasks", f"{report.tasks}{failed}"
    for task in report.failed:
        yield "", f"{show_hidden(task.name)}: {show_hidden(task.reason)}"
    yield "running", report.running
    yield "clients", report.clients - 1  # the other one asks
    if report.store_error:
        yield "not stored", show_hidden(report.store_error)
    if report.history_waiting or report.history_lost:
        waiting, lost = report.history_waiting, report.history_lost
        yield "history", f"{waiting} rows wait for the file, {lost} are lost"
    yield "folder", show_hidden(str(places.folder))
    yield "log", show_hidden(str(places.log))


def _format_instant(seconds: float, separator: str) -> str:
    local = datetime.fromtimestamp(seconds).astimezone()
    return local.isoformat(separator, "seconds")


def _print_log(given: argparse.Namespace) -> int:
    path = find_own_places().log
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise ServiceError(
            reason=f"it has written nothing yet: there is no {path}"
        ) from None
    except OSError as error:
        raise ServiceError(reason=f"{path}: {error.strerror}") from None
    with file:
        _print_bytes(b"".join(_read_last(file, given.n)))
        if not given.follow:
            return 0
        pause = threading.Event()  # never set
        while True:
            _print_bytes(file.read())
            pause.wait(POLL)
            if path.exists() and path.stat().st_ino != os.fstat(file.fileno()).st_ino:
                _print_bytes(file.read())  # it was set aside: go on in the new one
                file.close()
                file = path.open("rb")


def _read_last(file: IO[bytes], count: int) -> list[bytes]:
    """Return the last lines of a file of any size, and leave it at its end."""
    end = at = file.seek(0, os.SEEK_END)
    data = b""
    while at and data.count(b"\n") <= count:
        size = min(at, 1 << 16)
        at -= size
        file.seek(at)
        data = file.read(size) + data
    file.seek(end)
    return data.splitlines(keepends=True)[-count:]


def _print_bytes(data: bytes) -> None:
    text = data.decode(errors="replace")
    print(keep_colours(text) if sys.stdout.isatty() else text, end="", flush=True)


def _install(given: argparse.Namespace) -> int:
    from ipycron.service.install import install  # noqa: PLC0415 - as above

    return _print_installation(given, install(find_own_places()))


def _uninstall(given: argparse.Namespace) -> int:
    from ipycron.service.install import uninstall  # noqa: PLC0415 - as above

    return _print_installation(given, uninstall(find_own_places()))


def _print_installation(given: argparse.Namespace, done: Installation) -> int:
    import msgspec  # noqa: PLC0415 - beside its use

    if given.json:
        _write_json(msgspec.to_builtins(done))
        return 0
    if done.is_installed:
        word = "written" if done.is_changed else "unchanged"
    else:
        word = "removed" if done.is_changed else "not installed: nothing to remove"
    print(f"{done.unit}: {word}{f' ({show_hidden(done.path)})' if done.path else ''}")
    if done.pid is not None:
        print(f"the service runs: process {done.pid}")
    for note in done.notes:
        print(note)
    return 0


def _examine(given: argparse.Namespace) -> int:
    from ipycron.service.doctor import examine, is_healthy  # noqa: PLC0415 - as above

    findings = examine()
    if given.json:
        for finding in findings:
            _write_json(
                {
                    "check": finding.check,
                    "state": finding.state,
                    "found": finding.found,
                    "advice": finding.advice or None,
                }
            )
    else:
        _print_findings(findings)
    sys.stdout.flush()
    return 0 if is_healthy(findings) else 1


def _print_findings(findings: Iterable[Finding]) -> None:
    indent = sum(_WIDTHS) + 2
    width = min(_WIDEST, shutil.get_terminal_size().columns)
    room = max(width - indent, 20)
    for finding in findings:
        lines = textwrap.wrap(show_hidden(finding.found), room)
        if finding.advice:
            text = f"→ {show_hidden(finding.advice)}"
            lines += textwrap.wrap(text, room, subsequent_indent="  ")
        head = f"{finding.check:<{_WIDTHS[0]}} {finding.state:<{_WIDTHS[1]}}"
        for line in lines:
            print(f"{head:<{indent}}{line}")
            head = ""


def _write_json(value: Any) -> None:
    print(json.dumps(value))  # ASCII: safe in any terminal
