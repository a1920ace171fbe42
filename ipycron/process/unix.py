"""What only Unix has. Elsewhere background tasks are refused, and all else works.

A module is None where it is missing: only background tasks come to where it is used.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ipycron.errors import BackgroundUnsupported

if TYPE_CHECKING:
    import fcntl
    import termios
    from collections.abc import Callable

__all__ = ["call_in_child", "check_background", "fcntl", "find_lack", "termios"]


def _import(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


if not TYPE_CHECKING:
    fcntl = _import("fcntl")
    termios = _import("termios")


def call_in_child(call: Callable[[], Any]) -> None:
    """Have this called in each process that this one forks, if it can fork."""
    register = getattr(os, "register_at_fork", None)
    if register is not None:
        register(after_in_child=call)


def check_background(name: str) -> None:
    """Raise `BackgroundUnsupported` where there cannot be workers.

    Args:
        name: the job, for the error.
    """
    lack = find_lack()
    if lack:
        raise BackgroundUnsupported(name=name, reason=lack)


def find_lack() -> str:
    """Return what workers would lack here, tried by using it; empty: nothing."""
    for module in ("fcntl", "termios", "resource"):
        if _import(module) is None:
            return f"there is no module {module}"
    for function in ("fork", "register_at_fork", "waitid"):
        if not hasattr(os, function):
            return f"there is no os.{function}"
    import socket  # noqa: PLC0415 - 5 ms that most processes save

    try:
        for end in socket.socketpair(socket.AF_UNIX):
            end.close()
    except AttributeError:
        return "there are no Unix sockets"
    except OSError:
        pass  # refused for now: the start says why, and tries again
    return ""
