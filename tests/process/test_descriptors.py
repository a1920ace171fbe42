"""The descriptors of workers, and those that a job's programs inherit."""

import pytest
from house import NEVER
from polling import SECONDS

import ipycron

LOOK = """
    import os, stat, subprocess

    def describe(fd):
        return stat.S_IFMT(os.fstat(fd).st_mode), os.get_inheritable(fd)

    def task():
        own = []
        for name in os.listdir("/proc/self/fd"):
            try:
                own.append(describe(int(name)))
            except OSError:
                pass
        read, write = os.pipe()
        os.set_inheritable(write, True)
        pid = os.posix_spawn("/bin/sh", ["sh", "-c", f"ls /proc/self/fd >&{write}"],
                             os.environ)
        os.close(write)
        os.waitpid(pid, 0)
        with os.fdopen(read) as file:
            passed_on = [int(word) for word in file.read().split()]
        return sorted(own), sorted(fd for fd in passed_on if fd not in (read, write))
"""


@pytest.fixture
def look(write):
    """Run a job that inspects its descriptors; return its report."""

    def run(launcher):
        task = ipycron.create_task(NEVER, write(LOOK), launcher=launcher)
        task.start().result(20)
        return task.execute().result(SECONDS)

    return run


def test_spawned_worker_has_the_descriptors_of_a_forked_one(look):
    """The same kinds, with the same flags."""
    (forked, _), (spawned, _) = look("fork"), look("spawn")
    assert spawned == forked


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
def test_program_of_a_job_inherits_the_standard_descriptors_only(look, launcher):
    """One that held the worker's socket would hide the worker's end."""
    _, passed_on = look(launcher)
    assert passed_on[:3] == [0, 1, 2]
    assert len(passed_on) <= 4  # the folder that `ls` reads
