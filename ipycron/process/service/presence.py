"""Whether this user has ever had a service: one look, for everyone who has not.

Imports nothing but `os`, as `import ipycron` and ``%load_ext`` stay fast. Where this
returns True, `paths` finds out more.
"""

# Without pathlib: see above.
# ruff: noqa: PTH111, PTH112, PTH118
from __future__ import annotations

import os
import sys


def may_have_service() -> bool:
    """Return False if there is no service and never was one for this user."""
    if not hasattr(os, "getuid"):
        return False  # Windows: no background task runs there
    given = os.environ.get("IPYCRON_SERVICE_DIR")
    if given:
        return os.path.isdir(given)
    return os.path.isdir(os.path.join(_find_state(), "ipycron", "service"))


def _find_state() -> str:
    """Return the folder of the user's state, as platformdirs has it."""
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Application Support")
    given = os.environ.get("XDG_STATE_HOME", "").strip()
    return given or os.path.expanduser("~/.local/state")
