"""The surroundings that a background task takes along when it is created."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING

from ipycron.errors import InvalidOption
from ipycron.process.wire.job_message import Setting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def make_setting(
    *, cwd: str, env: dict[str, str] | None, path: list[str], max_result_bytes: int
) -> Setting:
    """Return the surroundings of a task that is created here and now."""
    own = {os.fsencode(n): os.fsencode(v) for n, v in (env or {}).items()}
    return Setting(
        cwd=os.fsencode(cwd),
        env={**os.environb, **own},
        path=tuple(_encode_folders(path)),
        log_level=logging.getLogger().getEffectiveLevel(),
        max_result_bytes=max_result_bytes,
    )


def get_folder() -> str:
    """Return the working directory. Raises `InvalidOption` if it is gone."""
    try:
        return os.getcwd()  # noqa: PTH109 - keeps symbolic links
    except FileNotFoundError:
        raise InvalidOption(
            option="cwd",
            value=None,
            expected="an existing folder: the working directory was deleted",
        ) from None


def _encode_folders(path: Iterable[object]) -> Iterator[bytes]:
    """Return what an import looks at: a `Path` in `sys.path` it passes over."""
    for folder in path:
        if isinstance(folder, str):
            with contextlib.suppress(UnicodeEncodeError):  # no folder is called so
                yield os.fsencode(folder)
