"""Finding and killing the processes of this process's client."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager

from polling import eventually
from watching import find_living_children, is_dead, read_command

from ipycron.client.registry import registry


def get_supervisor():
    """Return the supervisor's pid, once there is one."""
    registry.client.warm()
    return eventually(lambda: registry.client.supervisor_pid, "a supervisor")


def get_zygote():
    """Return the zygote's pid, once there is one."""
    supervisor = get_supervisor()

    def find():
        return [
            p for p in find_living_children(supervisor) if read_command(p) == "zygote"
        ]

    return eventually(find, "a zygote")[0]


@contextmanager
def stopped(pid):
    """Suspend a process during the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if not is_dead(pid):
            os.kill(pid, signal.SIGCONT)


def strike(pid):
    """Kill a process and wait until it is dead."""
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: is_dead(pid), f"{pid} is dead")
