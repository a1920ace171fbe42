"""Who holds a claim."""

from __future__ import annotations

import os
import platform
import secrets


def make_token() -> str:
    """Return what nobody else has."""
    return secrets.token_hex(8)


def make_owner(token: str) -> str:
    """Return ``host:process:token``: unique, and readable where a person looks.

    Asked for anew each time, since a forked copy is another owner.
    """
    return f"{platform.node()}:{os.getpid()}:{token}"
