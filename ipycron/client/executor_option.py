"""The option `executor`: what may be passed for it."""

from __future__ import annotations

import concurrent.futures
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from ipycron.errors import InvalidOption


def check_executor(name: str, value: Any) -> Any:
    """Accept an executor, a Dask client, a function that makes one, or None."""
    if value is None or isinstance(value, concurrent.futures.Executor):
        return value
    from ipycron.executors.dask import find_client  # noqa: PLC0415 - asyncio

    if find_client(value) is not None:
        return value
    if isinstance(value, FunctionType | MethodType | partial):
        return value
    raise InvalidOption(
        option=name,
        value=value,
        expected="a concurrent.futures.Executor or a distributed.Client",
        advice=_advise(value),
    )


def _advise(value: Any) -> str:
    if isinstance(value, type):
        return "Make an object of this class first."
    if callable(getattr(value, "get_client", None)):
        return "Of a Dask cluster, distributed.Client(cluster) makes one."
    if callable(getattr(value, "executor", None)):
        return "Pass what its method executor() returns."
    return ""
