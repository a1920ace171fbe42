"""The text of a systemd user unit, and of a launchd agent, that runs the service.

Pure: nothing is read, written or started here. `install` does that.
"""

from __future__ import annotations

import os
import plistlib
import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MARK = "# Written by `ipycron service install`; `ipycron service uninstall` removes it."
"""The first line of our units."""

COPIED = (
    "PATH",
    "PYTHONPATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "XDG_STATE_HOME",
    "IPYCRON_HISTORY",
    "IPYCRON_SERVICE_DIR",
)
"""Environment variables that a unit takes from the shell that installs it: systemd has
its own environment, in which jobs would not find their programs, nor the service its
files. No others, since any of them may hold a secret."""

DRAIN_SECONDS = 90
"""How long runs in progress may take when the service is stopped."""

_PLAIN = re.compile(r"[\w/.+@:,=-]+", re.ASCII)
_REFUSED = re.compile(r"[\x00-\x1f\x7f\"'\\]")
"""What systemd accepts in no program's path (its `string_is_safe`), however quoted."""
_SHELL = ("/bin/sh", "-c", 'exec "$0" "$@"')
"""Runs a program of any path: for the shell it is an argument."""


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What a unit runs.

    Attributes:
        command: the program's absolute path and its arguments.
        environment: the variables to add to those of systemd or launchd.
        about: the environment in words, for people who list their units.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    about: str


def choose_variables(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the variables that a unit keeps, and the names of those it cannot.

    A value that is not valid text cannot be written into a unit.
    """
    kept, left_out = {}, []
    for name in COPIED:
        value = environ.get(name)
        if not value:
            continue
        if _is_text(value):
            kept[name] = value
        else:
            left_out.append(name)
    return kept, left_out


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # undecodable bytes, as surrogates
        return False
    return re.search(r"[\x00-\x08\x0b-\x1f\x7f]", value) is None


def write_systemd(program: Program, *, exit_codes: Sequence[int]) -> str:
    """Return the text of a user unit.

    Args:
        program: what it runs.
        exit_codes: those after which a restart would not help.
    """
    command = list(program.command)
    if _REFUSED.search(command[0]):
        command = [*_SHELL, *command]
    variables = "".join(
        f"Environment={_quote(f'{name}={value}')}\n"
        for name, value in program.environment.items()
    )
    return f"""{MARK}
[Unit]
Description=ipycron: kept tasks of {_write_words(program.about)}
Documentation=https://github.com/ipycron/ipycron/blob/main/docs/kept.md
StartLimitIntervalSec=300
StartLimitBurst=10

[Service]
Type=exec
ExecStart={_write_command(command)}
{variables}Restart=on-failure
RestartSec=2
RestartPreventExitStatus={" ".join(map(str, exit_codes))}
# SIGTERM goes to the service alone: it ends the runs in progress in their order.
KillMode=mixed
TimeoutStopSec={DRAIN_SECONDS}
# A job that the system kills for its memory is one failed run, not the service's end.
OOMPolicy=continue

[Install]
WantedBy=default.target
"""


def _write_command(command: Sequence[str]) -> str:
    """Return a command as systemd reads it: each word quoted where it needs it.

    ``$`` is doubled in arguments only. It is not special in the program's path, which
    is why a path that has one goes through a shell, too: its copy in ``argv[0]`` is
    expanded, and Python finds its environment by that.
    """
    if "$" in command[0]:
        command = [*_SHELL, *command]
    first, *rest = command
    return " ".join([_quote(first), *(_quote(word, dollar="$$") for word in rest)])


def _quote(word: str, *, dollar: str = "$") -> str:
    r"""Return a word as a unit's quoted string; specifiers are not expanded.

    Source: systemd.syntax(7), "Quoting"; systemd.unit(5), "Specifiers".

    Examples:
        >>> print(_quote("/opt/venv/bin/python"), _quote('a "b" 100%'))
        /opt/venv/bin/python "a \"b\" 100%%"
    """
    if _PLAIN.fullmatch(word):
        return word
    data = os.fsencode(word)
    text = "".join(map(_escape, data)) if not _is_text(word) else word
    if text is word:
        for char in ("\\", '"'):
            text = text.replace(char, f"\\{char}")
        text = text.replace("\n", "\\n").replace("\t", "\\t")
    return f'"{text.replace("%", "%%").replace("$", dollar)}"'


def _escape(byte: int) -> str:
    char = chr(byte)
    return char if _PLAIN.fullmatch(char) else f"\\x{byte:02x}"


def _write_words(text: str) -> str:
    """Return one line in which nothing is a specifier or a line's continuation."""
    shown = " ".join(text.encode(errors="replace").decode().split())
    shown = "".join(char if char.isprintable() else "?" for char in shown)
    return shown.replace("%", "%%").rstrip("\\")


def write_launchd(program: Program, *, label: str) -> bytes:
    """Return the property list of a launchd agent.

    Args:
        program: what it runs.
        label: the agent's name.

    Raises:
        ValueError: if a word has characters that XML has not.
    """
    return plistlib.dumps(
        {
            "Label": label,
            "ProgramArguments": list(program.command),
            "EnvironmentVariables": dict(program.environment),
            "RunAtLoad": True,
            # Not after exit code 0: it was stopped.
            "KeepAlive": {"SuccessfulExit": False},
            "ExitTimeOut": DRAIN_SECONDS,
            "ProcessType": "Background",
        }
    )
