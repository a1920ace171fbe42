"""The surroundings that a background task takes along when it is created."""

from __future__ import annotations

import logging
import os

from ipycron.process.protocol import Setting


def make_setting(
    *, cwd: str, env: dict[str, str] | None, path: list[str], max_result_bytes: int
) -> Setting:
    """Return the surroundings of a task that is created here and now."""
    return Setting(
        cwd=cwd,
        env={**os.environ, **(env or {})},
        path=tuple(path),
        log_level=logging.getLogger().getEffectiveLevel(),
        max_result_bytes=max_result_bytes,
    )
