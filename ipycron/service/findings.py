"""What a check of the doctor has found."""

from __future__ import annotations

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the doctor's table.

    Attributes:
        check: what was looked at, one or two words.
        state: ``ok``; ``warn``: kept tasks run, but not in every case; ``fail``: they
            do not run, or something is lost.
        found: what is, one sentence.
        advice: the way out, one sentence; empty if there is nothing to do.
    """

    check: str
    state: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""
