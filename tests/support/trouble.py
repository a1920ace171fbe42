"""Finding and striking the processes of this process's client."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager

from watching import find_children, is_dead, read_command, wait_until

from ipycron.client.registry import registry

NEVER = "0 0 1 1 *"
EVERY_SECOND = "* * * * * *"


def get_supervisor():
    """Return the supervisor's pid, once there is one."""
    registry.client.warm()
    return wait_until(lambda: registry.client.supervisor_pid, 10, "a supervisor")


def get_zygote():
    """Return the zygote's pid, once there is one."""
    supervisor = get_supervisor()

    def find():
        return [p for p in find_children(supervisor) if read_command(p) == "zygote"]

    return wait_until(find, 10, "a zygote")[0]


@contextmanager
def stopped(pid):
    """Keep a process stopped meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if not is_dead(pid):
            os.kill(pid, signal.SIGCONT)


def strike(pid):
    """Kill a process and see it dead."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: is_dead(pid), 10, f"{pid} is dead")


class Events(list):
    """What a task's listeners hear, as texts: the event and its error's type."""

    def __init__(self, task):
        super().__init__()
        task.on("*", self._hear)

    def _hear(self, context):
        words = [context.event]
        if context.error is not None:
            words.append(type(context.error).__name__)
        self.append(" ".join(words))

    def wait_for(self, event, seconds=10, count=1):
        """Return when an event has come so often."""
        wait_until(
            lambda: self.count(event) >= count, seconds, f"{event} among {list(self)}"
        )
