"""Errors that the command itself reports, before it calls the API."""

from __future__ import annotations


class UsageMistake(Exception):
    """Arguments that make no sense; the text says what to write instead."""


class BadLines(UsageMistake):
    """Invalid lines in a file of tasks; the text has one line for each."""
