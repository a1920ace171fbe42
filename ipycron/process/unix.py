"""What only Unix has. Elsewhere background tasks are refused; everything else works.

A missing module is None here: only background tasks reach the code that uses it.
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

__all__ = [
    "call_in_child",
    "check_background",
    "fcntl",
    "find_missing_feature",
    "termios",
]


def _import(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


if not TYPE_CHECKING:
    fcntl = _import("fcntl")
    termios = _import("termios")


def call_in_child(call: Callable[[], Any]) -> None:
    """Register a function to be called in every child that this process forks."""
    register = getattr(os, "register_at_fork", None)
    if register is not None:
        register(after_in_child=call)


def check_background(name: str) -> None:
    """Raise `BackgroundUnsupported` if this system cannot run workers.

    Args:
        name: the job's name, for the error.
    """
    missing = find_missing_feature()
    if missing:
        raise BackgroundUnsupported(name=name, reason=missing)


def find_missing_feature() -> str:
    """Return what workers need but this system lacks; "" if nothing. Tries each."""
    for module in ("fcntl", "termios", "resource"):
        if _import(module) is None:
            return f"there is no module {module}"
    for function in ("fork", "register_at_fork", "waitid"):
        if not hasattr(os, function):
            return f"there is no os.{function}"
    import socket  # noqa: PLC0415 - takes 5 ms, which most processes save

    try:
        for end in socket.socketpair(socket.AF_UNIX):
            end.close()
    except AttributeError:
        return "there are no Unix sockets"
    except OSError:
        pass  # refused for now: a start reports why and retries
    return ""
