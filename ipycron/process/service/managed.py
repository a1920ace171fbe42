"""The system's own manager of services: systemd's user instance, launchd on macOS.

Only programs that the system has are run, each with a deadline; nothing here fails
because they are missing.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 20.0
"""How long one call of the manager may take that changes something."""
QUERY_SECONDS = 5.0
"""How long a question to it may take."""

_HASH_LENGTH = 12


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a program of the system has answered.

    Attributes:
        is_found: False if there is no such program.
        code: its exit code; None if it is missing or has not answered in time.
        out: what it wrote to stdout, without the last line break.
        error: what was wrong, one line; empty if nothing was.
    """

    is_found: bool = True
    code: int | None = None
    out: str = ""
    error: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether it ended with exit code 0."""
        return self.code == 0


def make_name(folder: Path) -> str:
    """Return the name of the service's unit: another for each environment.

    Args:
        folder: of the service's state, one for each user and environment.
    """
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()
    return f"ipycron-{digest[:_HASH_LENGTH]}"


def find_unit(folder: Path, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the path that the service's unit has, or would have.

    Returns:
        None where the user has no home folder, or the system has neither manager.
    """
    home = environ.get("HOME", "")
    if sys.platform == "darwin":
        place = Path(home, "Library", "LaunchAgents")
        return place / f"{make_name(folder)}.plist" if place.is_absolute() else None
    if sys.platform != "linux":
        return None
    # A relative XDG_CONFIG_HOME counts as none. Source: XDG Base Directory.
    given = environ.get("XDG_CONFIG_HOME", "")
    place = Path(given) if given.startswith("/") else Path(home, ".config")
    if not place.is_absolute():
        return None
    return place / "systemd" / "user" / f"{make_name(folder)}.service"


def ask(program: str, *words: str, seconds: float = SECONDS) -> Answer:
    """Run a program of the system; return what it answers. Nothing is raised."""
    path = shutil.which(program)
    if path is None:
        return Answer(is_found=False, error=f"there is no {program} on this system")
    try:
        done = subprocess.run(  # noqa: S603 - a program of the system
            [path, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
            env=_make_environment(os.environ),
        )
    except subprocess.TimeoutExpired:
        return Answer(error=f"{program} has not answered in {seconds:g} s")
    except OSError as error:
        return Answer(error=f"{program} cannot be run: {error.strerror}")
    lines = done.stderr.decode(errors="replace").split("\n")
    said = next(filter(None, map(str.strip, lines)), f"exit code {done.returncode}")
    return Answer(
        code=done.returncode,
        out=done.stdout.decode(errors="replace").rstrip("\n"),
        error=said if done.returncode else "",
    )


def _make_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for systemd's programs, with the way to the user's instance.

    `su`, cron and some containers leave XDG_RUNTIME_DIR out.
    """
    said = {**environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
    if sys.platform == "linux":
        said.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    return said


def ask_systemd(*words: str, seconds: float = SECONDS) -> Answer:
    """Ask the user's instance of systemd."""
    return ask("systemctl", "--user", *words, seconds=seconds)


def find_refusal() -> str | None:
    """Return why no manager can run the service here; None if one can."""
    if sys.platform == "darwin":
        return None
    if sys.platform != "linux":
        return "this system has neither systemd nor launchd"
    answer = ask_systemd("show", "--property=Version", seconds=QUERY_SECONDS)
    if answer.is_ok:
        return None
    if not answer.is_found:
        return "this system has no systemd"
    if not Path("/run/systemd/system").is_dir():  # Source: sd_booted(3)
        return "this system was not started by systemd, as in most containers"
    return f"systemd does not run for this user: {answer.error}"


def start_managed(folder: Path) -> bool:
    """Start the service by its unit, if one is installed.

    Args:
        folder: of the service's state.

    Returns:
        Whether the manager has started it; False, at once, if no unit is installed.
    """
    unit = find_unit(folder)
    if unit is None or not unit.exists():
        return False
    name = make_name(folder)
    if sys.platform == "darwin":
        return ask("launchctl", "kickstart", f"gui/{os.getuid()}/{name}").is_ok
    return ask_systemd("start", f"{name}.service").is_ok


def stop_managed(folder: Path, seconds: float) -> Answer:
    """Have the manager stop the service that it has started.

    Args:
        folder: of the service's state.
        seconds: how long that may take.
    """
    name = make_name(folder)
    if sys.platform == "darwin":
        target = f"gui/{os.getuid()}/{name}"
        return ask("launchctl", "kill", "SIGTERM", target, seconds=seconds)
    return ask_systemd("stop", f"{name}.service", seconds=seconds)


def find_main_pid(folder: Path) -> int | None:
    """Return the process that the service's unit runs; None if it runs none."""
    name = make_name(folder)
    if sys.platform == "darwin":
        target = f"gui/{os.getuid()}/{name}"
        said = ask("launchctl", "print", target, seconds=QUERY_SECONDS).out
        found = re.search(r"^\s*pid = (\d+)$", said, re.MULTILINE)
    else:
        words = ("show", "--property=MainPID", f"{name}.service")
        said = ask_systemd(*words, seconds=QUERY_SECONDS).out
        found = re.fullmatch(r"MainPID=(\d+)", said)
    return (int(found[1]) or None) if found else None


def find_linger() -> bool | None:
    """Return whether systemd starts this user's services at boot and lets them be.

    Returns:
        None where that is not known: no systemd, or no logind.
    """
    if sys.platform != "linux":
        return None
    user = str(os.getuid())
    words = ("show-user", user, "--property=Linger")
    answer = ask("loginctl", *words, seconds=QUERY_SECONDS)
    if answer.is_ok:
        return answer.out == "Linger=yes"
    # Of a user who is neither logged in nor lingering it knows nothing.
    return False if "not logged in or lingering" in answer.error else None
