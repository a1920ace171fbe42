"""Has the system's manager run the service: at boot, and again after a crash."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ipycron.errors import ServiceError
from ipycron.process.interpreter import find_executable, make_options
from ipycron.process.service import managed
from ipycron.process.service.launch import start_service
from ipycron.process.service.paths import EXIT_HELD, EXIT_SETUP
from ipycron.process.wire.printable import show_hidden
from ipycron.service import units
from ipycron.service.asking import find_service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipycron.process.service.paths import Places

WITHOUT = (
    "The first kept task starts the service. To have it started with the system, run "
    "`ipycron service start` from a container's entry point or ~/.profile"
)
"""The way out where there is no manager."""

SERVE = ("serve", "--log")
"""What a unit runs: the service, with its log where every service of ours has it."""
_CHECK_SECONDS = 60.0
"""How long Python and our package may take to load from a slow disk."""


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """What `install` or `uninstall` has done, and what holds now.

    Attributes:
        unit: the unit's name, or the agent's label.
        path: its file.
        is_installed: whether the file is there.
        is_changed: whether it was written, changed or removed by this call.
        pid: the running service's process; None if none runs.
        is_managed: whether that one was started by its unit.
        lingers: whether it is started at boot and goes on after logout; None where
            that is not to be found out.
        notes: what to know and what to do, a sentence each.
    """

    unit: str
    path: str
    is_installed: bool
    is_changed: bool
    pid: int | None = None
    is_managed: bool = False
    lingers: bool | None = None
    notes: tuple[str, ...] = ()


def install(places: Places, environ: Mapping[str, str] = os.environ) -> Installation:
    """Install the service's unit, and start it unless a service is running.

    Doing it again changes nothing but a unit that is out of date. If it fails, what was
    there before is there again.

    Raises:
        ServiceError: if the system has no manager, or refuses the unit; if the command
            in the unit does not work.
    """
    unit = _require_manager(places, environ)
    program, notes = _make_program(places, environ)
    name = managed.make_name(places.folder)
    if sys.platform == "darwin":
        text = _write_agent(program, name)
    else:
        codes = (EXIT_HELD, EXIT_SETUP)
        text = os.fsencode(units.write_systemd(program, exit_codes=codes))
    before = _read(unit)
    is_changed = before != text
    if is_changed:
        _check_command(program)
        _write(unit, text)
    try:
        _enable(name, unit)
    except ServiceError:
        if is_changed:
            _put_back(unit, before)
        raise
    return _report(places, unit, is_changed=is_changed, notes=notes)


def uninstall(places: Places, environ: Mapping[str, str] = os.environ) -> Installation:
    """Remove the service's unit; a service that it runs ends, with its runs in order.

    The tasks stay in the store. Without a unit there is nothing to do.

    Raises:
        ServiceError: if the file cannot be removed.
    """
    name = managed.make_name(places.folder)
    unit = managed.find_unit(places.folder, environ)
    if unit is None or not (unit.exists() or unit.is_symlink()):
        path = "" if unit is None else str(unit)
        return Installation(unit=name, path=path, is_installed=False, is_changed=False)
    notes = []
    error = _disable(name, unit)
    if error:
        notes.append(f"The unit was removed, but {error}.")
    try:
        unit.unlink(missing_ok=True)
    except OSError as problem:
        raise ServiceError(
            reason=f"{unit} cannot be removed: {problem.strerror}"
        ) from problem
    if sys.platform == "linux":
        managed.ask_systemd("daemon-reload")
    greeting = find_service(places)
    if greeting is None:
        notes.append(
            "Kept tasks are not scheduled until a service runs again: `ipycron service "
            "start`."
        )
    return Installation(
        unit=name,
        path=str(unit),
        is_installed=False,
        is_changed=True,
        pid=None if greeting is None else greeting.pid,
        notes=tuple(notes),
    )


def _require_manager(places: Places, environ: Mapping[str, str]) -> Path:
    refusal = managed.find_refusal()
    if refusal is not None:
        raise ServiceError(reason=f"{refusal}. {WITHOUT}")
    unit = managed.find_unit(places.folder, environ)
    if unit is None:
        raise ServiceError(reason=f"there is no home folder for its unit. {WITHOUT}")
    if unit.is_symlink() and os.path.realpath(unit) == os.devnull:
        raise ServiceError(
            reason=f"its unit is masked: `systemctl --user unmask {unit.name}`"
        )
    return unit


def _make_program(
    places: Places, environ: Mapping[str, str]
) -> tuple[units.Program, list[str]]:
    kept, left_out = units.choose_variables(environ)
    notes = [
        f"{name} is not in the unit: its value has characters that a unit cannot have."
        for name in left_out
    ]
    program = units.Program(
        command=(find_executable(), *make_options(), "-m", "ipycron", *SERVE),
        environment=kept,
        about=sys.prefix if _is_usual(places, environ) else str(places.folder),
    )
    return program, notes


def _is_usual(places: Places, environ: Mapping[str, str]) -> bool:
    return str(places.folder) != environ.get("IPYCRON_SERVICE_DIR")


def _write_agent(program: units.Program, label: str) -> bytes:
    try:
        return units.write_launchd(program, label=label)
    except ValueError as error:
        raise ServiceError(
            reason=f"launchd cannot run {show_hidden(program.command[0])}: {error}"
        ) from error


def _check_command(program: units.Program) -> None:
    """Try the unit's command, with its variables only.

    Raises:
        ServiceError: if it does not get as far as to our version.
    """
    command = [*program.command[: -len(SERVE)], "--version"]
    needed = ("HOME", "XDG_RUNTIME_DIR", "USER")  # as every manager sets them
    environ = {name: os.environ[name] for name in needed if name in os.environ}
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_CHECK_SECONDS,
            check=False,
            cwd="/",
            env={**environ, **program.environment},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServiceError(reason=f"its command cannot be run: {error}") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [""]
        raise ServiceError(
            reason=f"{show_hidden(' '.join(command))} fails without the variables of "
            f"this shell: {show_hidden(lines[-1])}. Install ipycron into this Python "
            "environment"
        )


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _write(path: Path, text: bytes) -> None:
    """Write a file whole or not at all, for this user only.

    Raises:
        ServiceError: if it cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The new file is 0600: its PATH and its paths are nobody else's business.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".ipycron-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            # A link stays one: some people keep these files elsewhere.
            Path(temporary).replace(os.path.realpath(path))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108 - beside what made it
            raise
    except OSError as error:
        raise ServiceError(
            reason=f"its unit {path} cannot be written: {error.strerror}. Nothing has "
            f"been changed. {WITHOUT}"
        ) from error


def _put_back(unit: Path, before: bytes | None) -> None:
    """Restore a unit's file after a failure."""
    with contextlib.suppress(OSError, ServiceError):
        if before is None:
            unit.unlink(missing_ok=True)
        else:
            _write(unit, before)
    if sys.platform == "linux":
        managed.ask_systemd("daemon-reload")


def _enable(name: str, unit: Path) -> None:
    """Have the manager take the unit.

    Raises:
        ServiceError: if it refuses.
    """
    if sys.platform == "darwin":
        domain = f"gui/{os.getuid()}"
        if managed.ask("launchctl", "print", f"{domain}/{name}").is_ok:
            return
        steps = [("launchctl", "bootstrap", domain, str(unit))]
    else:
        steps = [
            ("systemctl", "--user", "daemon-reload"),
            ("systemctl", "--user", "enable", unit.name),
        ]
    for step in steps:
        answer = managed.ask(*step)
        if not answer.is_ok:
            raise ServiceError(
                reason=f"`{' '.join(step)}` failed: {show_hidden(answer.error)}. "
                "Nothing has been changed"
            )


def _disable(name: str, unit: Path) -> str:
    """Have the manager end the service and forget the unit; return what failed."""
    if sys.platform == "darwin":
        answer = managed.ask(
            "launchctl", "bootout", f"gui/{os.getuid()}/{name}", seconds=_end_seconds()
        )
    else:
        answer = managed.ask_systemd(
            "disable", "--now", unit.name, seconds=_end_seconds()
        )
    return show_hidden(answer.error)


def _end_seconds() -> float:
    return managed.SECONDS + units.DRAIN_SECONDS


def _report(
    places: Places, unit: Path, *, is_changed: bool, notes: list[str]
) -> Installation:
    """Start the service if none runs; return what holds now.

    Raises:
        ServiceError: if its unit does not start.
    """
    name = managed.make_name(places.folder)
    greeting = find_service(places)
    if greeting is None:
        start_service(places)
        greeting = find_service(places)
    pid = None if greeting is None else greeting.pid
    is_managed = pid is not None and pid == managed.find_main_pid(places.folder)
    if pid is not None and not is_managed:
        notes.append(
            f"A service is running already, process {pid}, and goes on. `ipycron "
            "service restart` hands its tasks over to the unit."
        )
    elif is_changed and is_managed:
        notes.append("A changed unit takes effect with `ipycron service restart`.")
    lingers = managed.find_linger()
    if lingers is False:
        notes.append(
            "It starts when you log in and ends when you log out, since your user does "
            "not linger. `loginctl enable-linger` has it start at boot and go on."
        )
    return Installation(
        unit=name,
        path=str(unit),
        is_installed=True,
        is_changed=is_changed,
        pid=pid,
        is_managed=is_managed,
        lingers=lingers,
        notes=tuple(notes),
    )
