"""Where the history is, and how much of it is kept.

A supervisor imports this at its start, of which pathlib would take 3 ms.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import msgspec

from ipycron.errors import HistoryError, InvalidOption

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VARIABLE = "IPYCRON_HISTORY"
"""The environment variable with a path of its own for the history, or ``off``."""

KEEP_RUNS = 1000
KEEP_DAYS = 30.0
MAX_BYTES = 256 << 20
MIN_BYTES = 1 << 20
"""The smallest cap: a run with its output alone may take a tenth of it."""

_OFF = "off"
_NAME = "history.sqlite"
_ADVICE = "Give the path of a file, or None for no history."


class HistorySettings(msgspec.Struct, frozen=True, kw_only=True):
    """The history's settings; a plain value that travels to other processes.

    Attributes:
        path: of the file, absolute, as `os.fsencode` returns it: a path need not be
            text. None: there is no history.
        keep_runs: how many runs are kept of each task name, the newest.
        keep_days: how long, in days; the last success and the last failure of a name
            are kept longer.
        max_bytes: how large the file may become; the oldest runs go first.
    """

    path: bytes | None
    keep_runs: int = KEEP_RUNS
    keep_days: float = KEEP_DAYS
    max_bytes: int = MAX_BYTES

    @property
    def file(self) -> Path | None:
        """The file's path, or None."""
        from pathlib import Path  # noqa: PLC0415 - see the module

        return None if self.path is None else Path(os.fsdecode(self.path))


OFF = HistorySettings(path=None)
"""No history."""


def make_settings(
    path: str | os.PathLike[str] | None,
    *,
    keep_runs: int = KEEP_RUNS,
    keep_days: float = KEEP_DAYS,
    max_bytes: int = MAX_BYTES,
) -> HistorySettings:
    """Return settings that have been checked; nothing is opened yet.

    Args:
        path: the file; a relative one is taken from the working directory now, ``~`` is
            the home folder. None: no history.
        keep_runs: at least 1.
        keep_days: more than 0; ``float("inf")`` for ever.
        max_bytes: at least `MIN_BYTES`.

    Raises:
        InvalidOption: if a value is of another type or out of range.
    """
    _check_number("keep_runs", keep_runs, least=1, kind=int)
    _check_number("keep_days", keep_days, least=0, kind=(int, float))
    _check_number("max_bytes", max_bytes, least=MIN_BYTES, kind=int)
    return HistorySettings(
        path=None if path is None else os.fsencode(_resolve(path)),
        keep_runs=keep_runs,
        keep_days=float(keep_days),
        max_bytes=max_bytes,
    )


def find_settings(environ: Mapping[str, str] = os.environ) -> HistorySettings:
    """Return what the environment says, else the file of this user.

    Raises:
        HistoryError: if there is no such place: no home folder, or a variable with
            something else than a path. There is no history then.
    """
    value = environ.get(VARIABLE, "").strip()
    if value.lower() == _OFF:
        return OFF
    if not value:
        return make_settings(find_default())
    try:
        return make_settings(value)
    except InvalidOption as error:
        reason = f"{VARIABLE} is {error.value}, expected a path or off."
        raise HistoryError(path=value, reason=reason) from error


def find_default() -> Path:
    """Return the path of this user's file; the system's folder for state.

    Raises:
        HistoryError: if the user has no home folder.
    """
    import platformdirs  # noqa: PLC0415 - not before there is something to write

    # An empty HOME would make the home folder "/".
    if os.environ.get("HOME") != "" or os.environ.get("XDG_STATE_HOME"):
        with contextlib.suppress(RuntimeError):  # none; older versions return "~/…"
            folder = platformdirs.user_state_path("ipycron")
            if folder.is_absolute():
                return folder / _NAME
    raise HistoryError(
        path=_NAME,
        reason="this user has no home folder to keep it in. Set HOME, or set "
        f"{VARIABLE} to the path of a file or to off.",
    )


def _resolve(path: Any) -> Path:
    """Return the absolute path; links are followed by who writes.

    Raises:
        InvalidOption: if it does not name a file that other processes could open.
    """
    expected = "the path of a file"
    if not isinstance(path, str | os.PathLike):
        raise InvalidOption(
            option="path", value=path, expected=expected, advice=_ADVICE
        )
    text = os.fsdecode(path)
    is_special = text == ":memory:" or text.startswith("file:")
    if is_special or not text.strip() or "\0" in text or text.endswith("/"):
        raise InvalidOption(
            option="path", value=path, expected=expected, advice=_ADVICE
        )
    from pathlib import Path  # noqa: PLC0415 - see the module

    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:  # "~" of nobody
        raise InvalidOption(
            option="path", value=path, expected=expected, advice=f"{error}."
        ) from error


def _check_number(option: str, value: Any, *, least: float, kind: Any) -> None:
    is_number = isinstance(value, kind) and not isinstance(value, bool)
    if is_number and value >= least and value > 0:
        return
    words = "a whole number" if kind is int else "a number"
    limit = f"of at least {least}" if least else "above 0"
    raise InvalidOption(option=option, value=value, expected=f"{words} {limit}")
