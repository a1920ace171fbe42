"""So that the hour at which a test runs does not matter.

A day may end between a run and the look at it, and what comes in a minute may come
tomorrow.
"""

from __future__ import annotations

INSTANT = r"(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d"
"""A pattern: an instant with its seconds, and with its date unless that is today's."""
