"""As the first process of a container, below a read-only root."""

import shutil
import signal
import subprocess
import sys
from shlex import quote

import psutil
import pytest
from polling import eventually

UNSHARE = ("unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc")
BEGIN = """
import os
import ipycron
assert os.getpid() == 1
try:
    open("/etc/ipycron-test", "w")
except OSError as error:
    print(error.strerror, flush=True)

def large():
    return b"x" * 300_000

ipycron.schedule("* * * * * *", "tick.py")
task = ipycron.schedule("* * * * * *", large, background=True)
assert len(task.execute().result(20)) == 300_000
print("all is scheduled", flush=True)
"""
ENDS = {
    "wait": "ipycron.wait()",
    "last line": "",
    "asyncio": """
import asyncio
async def main():
    task = asyncio.current_task()
    asyncio.get_running_loop().add_signal_handler(15, task.cancel)
    await ipycron.wait_async()
try:
    asyncio.run(main())
except asyncio.CancelledError:
    pass
""",
}
OWN_THREAD = """
import pathlib, threading, time
def work():
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
threading.Thread(target=work).start()
"""


@pytest.fixture
def contain(start, tmp_path):
    """Start a program as the first process of a container; return its process."""
    if shutil.which("unshare") is None or subprocess.call([*UNSHARE, "true"]):
        pytest.skip("needs a system that lets this user make namespaces")

    def run(source):
        # The folder is a separate mount and stays writable.
        here, python = quote(str(tmp_path)), quote(sys.executable)
        command = (
            f"mount --bind {here} {here} && mount -o remount,ro,bind / && "
            f"cd {here} && exec {python} -u app.py"
        )
        program = start(*UNSHARE, "sh", "-c", command, app=f"{BEGIN}{source}")
        program.wait_line("Read-only file system")
        return program, psutil.Process(program.process.pid).children()[0]

    return run


@pytest.mark.parametrize("end", ENDS)
def test_container_runs_its_tasks_and_ends_with_the_first_signal(contain, end):
    """It writes no files, and exits on the TERM that container managers send."""
    program, first = contain(ENDS[end])
    program.wait_line("all is scheduled")  # until then nothing handles the signal
    program.wait_ticks(2)
    first.send_signal(signal.SIGTERM)
    assert program.wait() == 0, program.stderr
    eventually(lambda: not first.is_running(), "it is gone")


def test_runs_that_go_on_after_the_signal_do_not_hold_the_container(contain, tmp_path):
    """Not while it waits for a thread of the program's own, and not from then on."""
    program, first = contain(OWN_THREAD)
    program.wait_line("all is scheduled")
    program.wait_ticks(2)
    first.send_signal(signal.SIGTERM)
    program.wait_ticks(2)
    assert first.is_running()
    (tmp_path / "go").touch()
    assert program.wait() == 0, program.stderr
