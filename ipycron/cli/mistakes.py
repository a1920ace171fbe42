"""Errors that the command itself reports, before it calls the API."""

from __future__ import annotations

import os


class UsageMistake(Exception):
    """Arguments that make no sense; the text says what to write instead."""


class BadLines(UsageMistake):
    """Invalid lines in a file of tasks; the text has one line for each."""


def is_file(text: str) -> bool:
    """Return whether a word of the command line is a file; any text may be asked."""
    return os.path.isfile(text)  # noqa: PTH113 - False for a path that is too long
