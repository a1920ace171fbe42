"""The present, for what a notebook is told."""

from __future__ import annotations

from datetime import UTC, datetime

from ipycron.scheduling.clock import SystemClock


def get_now() -> datetime:
    """Return the present, in UTC."""
    return datetime.fromtimestamp(SystemClock().now(), UTC)
