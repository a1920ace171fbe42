"""What the command refuses by itself, before the API is asked."""

from __future__ import annotations


class UsageMistake(Exception):
    """Words of the command line that cannot be meant; the text says what to write."""


class BadLines(UsageMistake):
    """Lines of a file of tasks that are none; the text has a line for each."""
