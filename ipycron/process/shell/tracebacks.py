"""Failures of a cell as text: plain for logs, coloured for the notebook."""

from __future__ import annotations

import contextlib
import re
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

from ipycron.process.wire.describe import call_briefly, get_error_text
from ipycron.process.wire.outcome import format_trace, safe_str

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_QUOTED = re.compile(r"'(\w+)'")
_NO_TABLE = re.compile(r"\bname (\w+) does not exist")  # duckdb's

_SECONDS = 5.0
"""Seconds that IPython may take: it runs the exception's own methods."""
_MOST_FRAMES = 100
"""Above this IPython's rendering takes 0.6 ms a frame: a recursion is shown plain."""


def trim_traceback(error: BaseException, filename: str) -> None:
    """Make the traceback begin with the cell, not with the code that runs it.

    A traceback that never enters the cell (an extension fails to load) stays whole.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != filename:
        trace = trace.tb_next
    if trace is not None:
        error.__traceback__ = trace


def find_missing_name(error: BaseException) -> str | None:
    """Return the name that an error reports as missing, or None."""
    name: Any = None
    with contextlib.suppress(BaseException):  # a user's class may return anything
        if isinstance(error, NameError):
            name = error.name or _QUOTED.search(safe_str(error))
        elif isinstance(error, KeyError):
            name = error.args[0] if error.args else None
        else:
            name = _NO_TABLE.search(safe_str(error))
    if isinstance(name, re.Match):
        name = name[1]
    return name if type(name) is str else None


def format_plain(error: BaseException) -> str:
    """Return Python's own rendering, whatever the exception's methods do."""
    return format_trace(error, error.__traceback__)


def format_coloured(error: BaseException, shell: InteractiveShell) -> str:
    """Return IPython's rendering with ANSI colours; if that fails, the plain one."""
    try:
        if get_error_text(error).is_own:
            return call_briefly(partial(_render, shell=shell), error, _SECONDS)
        return format_plain(error)
    except BaseException:  # noqa: BLE001 - a user's __str__, IPython's own bugs
        return format_plain(error)
    finally:
        # IPython keeps the frames, and with them what the cell's functions hold.
        for renderer in (shell.InteractiveTB, shell.SyntaxTB):
            vars(renderer).update(tb=None, evalue=None, etype=None)


def _render(error: BaseException, shell: InteractiveShell) -> str:
    from IPython.core.error import UsageError  # noqa: PLC0415 - see shell.py

    trace = error.__traceback__
    if _holds_group(error) or sum(1 for _ in traceback.walk_tb(trace)) > _MOST_FRAMES:
        return format_plain(error)  # IPython shows groups without their members
    if hasattr(error, "_render_traceback_"):
        lines = error._render_traceback_()
    elif type(error) is UsageError:
        lines = [f"UsageError: {error}"]
    elif isinstance(error, SyntaxError):
        frames: Any = traceback.extract_tb(trace)  # IPython's hint says something else
        lines = shell.SyntaxTB.structured_traceback(type(error), error, frames)
    else:
        lines = shell.InteractiveTB.structured_traceback(
            type(error), error, trace, tb_offset=0
        )
    return "\n".join(lines)


def _holds_group(error: BaseException | None) -> bool:
    seen: set[int] = set()
    chain: Any = error
    while chain is not None and id(chain) not in seen:
        if isinstance(chain, BaseExceptionGroup):
            return True
        seen.add(id(chain))
        chain = chain.__cause__ or chain.__context__
    return False
