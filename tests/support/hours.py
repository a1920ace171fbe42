"""So that the hour at which a test runs does not matter.

A day may end between a run and the look at it, and what comes in a minute may come
tomorrow. What runs every hour or at midnight may be due in the middle of a test.
"""

from __future__ import annotations

import time

from polling import pause

INSTANT = r"(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d"
"""A pattern: an instant with its seconds, and with its date unless that is today's."""
HOUR = 3600


def pass_full_hour(seconds=30):
    """If an hour ends within some seconds, wait until it has.

    For examples with tasks of every hour, that are called and not meant to be due.
    """
    now = time.localtime()  # not everywhere do all zones' hours begin together
    left = HOUR - 60 * now.tm_min - now.tm_sec
    if left <= seconds:
        pause(left + 1)
