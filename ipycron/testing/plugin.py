"""A pytest plugin, discovered automatically where ipycron is installed.

It loads only this module of ipycron until a fixture is requested.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def ipycron_tasks() -> Iterator[None]:
    """Shut ipycron down after the test, and fail the test for tasks it left started.

    Tasks started before the test do not count. A task that is stopped, destroyed, or
    has used up its `max_executions` is not a leak.
    """
    from ipycron.api.functions import get_tasks, shutdown  # noqa: PLC0415 - see above

    before = set(get_tasks())
    yield
    left = [
        f"{task.name!r} ({task.pattern})"
        for task in get_tasks().values()
        if task.id not in before
        and not task.is_kept  # another process may have declared it
        and (task.is_started or task.is_starting)
    ]
    shutdown(0)
    if left:
        pytest.fail(f"the test left tasks started: {', '.join(left)}", pytrace=False)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let a worker of pytest-xdist end, whatever its tests have left started.

    Its main module runs to the last line when the tests are over, as a script's does
    that is kept alive by its tasks; pytest-xdist would wait for ten seconds.
    """
    if hasattr(config, "workerinput") and "ipycron.client.registry" in sys.modules:
        from ipycron.client.registry import registry  # noqa: PLC0415 - see above

        if registry.running_client is not None:
            registry.running_client.keepalive.give_up()
