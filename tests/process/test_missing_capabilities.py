"""Systems that lack or forbid what Linux has: workers work nevertheless."""

import os
import subprocess
import sys
import textwrap

import pytest

NO_PACKETS = """
        pair = socket.socketpair
        def make_pair(family=None, type=socket.SOCK_STREAM, proto=0):
            if type == socket.SOCK_SEQPACKET:
                refuse()
            return pair(family, type, proto) if family else pair()
        socket.socketpair = make_pair
    """

HIDE = {
    "forbidden": """
        import errno, os, socket
        def refuse(*_, **__):
            raise PermissionError(errno.EPERM, "Operation not permitted")
        for name in ("eventfd", "memfd_create", "pidfd_open", "sched_setaffinity"):
            setattr(os, name, refuse)
    """
    + NO_PACKETS,
    "missing": """
        import os, socket
        for name in ("eventfd", "memfd_create", "pidfd_open"):
            if hasattr(os, name):
                delattr(os, name)
        for name in ("EFD_CLOEXEC", "EFD_NONBLOCK", "MFD_CLOEXEC", "MFD_ALLOW_SEALING"):
            if hasattr(os, name):
                delattr(os, name)
        if hasattr(socket, "SOCK_SEQPACKET"):
            del socket.SOCK_SEQPACKET
    """,
    "refused": """
        import errno, os, socket
        def refuse(*_, **__):
            raise OSError(errno.ENOSYS, "Function not implemented")
        os.eventfd = os.memfd_create = os.pidfd_open = refuse
    """
    + NO_PACKETS,
    "no proc": """
        import builtins, errno, os
        plain = builtins.open
        def hidden(path):
            return isinstance(path, (str, bytes)) and os.fsencode(path)[:5] == b"/proc"
        def wrap(function):
            def call(path=".", *args, **options):
                if hidden(path):
                    raise FileNotFoundError(errno.ENOENT, "No such file", path)
                return function(path, *args, **options)
            return call
        builtins.open = wrap(builtins.open)
        for name in ("open", "listdir", "readlink", "stat", "scandir"):
            setattr(os, name, wrap(getattr(os, name)))
    """,
}

HIDE["as on macOS"] = HIDE["missing"] + HIDE["no proc"]
WINDOWS = """
    import asyncio, concurrent.futures, ctypes, multiprocessing, os, select, selectors
    import signal, socket, sqlite3, subprocess, sys, tempfile, time, _signal, _socket
    if sys.version_info < (3, 14):
        import asyncio.unix_events
    for name in ("fcntl", "resource", "termios", "pwd", "grp", "pty", "tty", "curses",
            "syslog", "readline", "spwd", "nis", "crypt"):
        sys.modules[name] = None
    def hide(names, *modules):
        for name in names.split():
            for module in modules:
                if hasattr(module, name):
                    delattr(module, name)
    hide("fork forkpty register_at_fork environb getuid geteuid getgid getegid setuid "
        "setgid seteuid setsid getsid setpgid getpgid getpgrp killpg waitid wait wait3 "
        "wait4 WNOHANG WUNTRACED WEXITED WNOWAIT P_PID sched_yield sched_getaffinity "
        "sched_setaffinity memfd_create MFD_CLOEXEC MFD_ALLOW_SEALING eventfd "
        "EFD_CLOEXEC EFD_NONBLOCK pidfd_open O_ASYNC O_CLOEXEC O_NOFOLLOW O_DIRECTORY "
        "O_NONBLOCK sysconf uname getloadavg fchmod fchown chown lchown mkfifo pipe2 "
        "openpty posix_spawn sendfile nice", os)
    hide("SIGKILL SIGSTOP SIGCONT SIGCHLD SIGHUP SIGIO SIGALRM SIGPIPE SIGXFSZ SIGUSR1 "
        "SIGUSR2 SIGQUIT SIGTSTP setitimer getitimer ITIMER_REAL alarm pthread_sigmask "
        "pthread_kill SIG_BLOCK SIG_UNBLOCK SIG_SETMASK sigpending sigwait pause",
        signal, _signal)
    hide("AF_UNIX SCM_RIGHTS CMSG_SPACE CMSG_LEN SOCK_SEQPACKET SOCK_CLOEXEC "
        "SOCK_NONBLOCK MSG_CTRUNC MSG_DONTWAIT send_fds recv_fds SO_PEERCRED",
        socket, _socket)
    hide("poll epoll", select)
    hide("tzset clock_getres clock_gettime clock_gettime_ns CLOCK_REALTIME "
        "CLOCK_MONOTONIC CLOCK_BOOTTIME", time)
    def make_pair(*_):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            one = socket.create_connection(listener.getsockname())
            return one, listener.accept()[0]
    socket.socketpair = make_pair
    class Library(ctypes.CDLL):
        def __init__(self, name, *args, **options):
            if name is None:
                raise TypeError("argument 1 must be str, not None")
            super().__init__(name, *args, **options)
    ctypes.CDLL = Library
"""
ON_WINDOWS = """
import asyncio, datetime, sys, threading, time
import ipycron, ipycron.testing
from concurrent.futures import ThreadPoolExecutor
from ipycron.coordinate import SQLiteRunCoordinator
from ipycron.errors import BackgroundUnsupported

now = datetime.datetime.now(datetime.timezone.utc)
assert ipycron.CronExpression("*/5 * * * *", "Europe/Berlin").next(now) > now

def job():
    print("said")
    return 7

claims = SQLiteRunCoordinator("claims.sqlite")
task = ipycron.schedule("* * * * * *", job, name="job", distributed=True,
    run_coordinator=claims)
assert ipycron.wait(task, runs=1, timeout=20)
assert (task.last_run.result, task.last_run.output.stdout) == (7, "said\\n")
assert task.execute().result(20) == 7

def fail():
    raise LookupError("lost")

failing = ipycron.schedule("0 0 1 1 *", fail)
assert isinstance(failing.execute().exception(20), LookupError)

async def main():
    async def work():
        await asyncio.sleep(0)
        return 8
    async with ipycron.create_task("0 0 1 1 *", work, timeout=30) as task:
        assert await task.execute() == 8

asyncio.run(main())
with ThreadPoolExecutor(1) as pool:
    elsewhere = ipycron.schedule("0 0 1 1 *", len, args=["abc"], executor=pool)
    assert elsewhere.execute().result(20) == 3
    elsewhere.destroy().result(20)
for make in (ipycron.create_task, ipycron.schedule):
    for job, options in ((__file__, {}), (fail, {"background": True})):
        try:
            make("* * * * *", job, **options)
        except BackgroundUnsupported as error:
            assert "no module fcntl" in str(error), error
        else:
            raise AssertionError(job)
assert len(ipycron.get_tasks()) == 2
ipycron.shutdown()
deadline = time.monotonic() + 20
while threading.enumerate() != [threading.main_thread()]:  # the last may still end
    assert time.monotonic() < deadline, threading.enumerate()
    time.sleep(0.01)
from ipycron.cli.command import main
assert main(["next", "* * * * *", "-n", "2"]) in (0, None)
print("over")
"""

WORK = """
import sys
import ipycron

def work(size=3):
    return b"x" * 200_000

for launcher in ("fork", "spawn"):
    task = ipycron.create_task("* * * * * *", sys.argv[1], launcher=launcher)
    task.start().result(20)
    sizes = {len(task.execute().result(20)) for _ in range(5)}
    other = ipycron.schedule("0 0 1 1 *", work, background=True, launcher=launcher)
    other.start().result(20)
    print(launcher, sizes, len(other.execute().result(20)))
    task.stop().result(20)
ipycron.shutdown()
print("over")
"""


def test_all_but_workers_works_as_on_windows(tmp_path):
    """Cron, inline tasks, coordination; a background task is one clear error."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(textwrap.dedent(WINDOWS))
    program = tmp_path / "client.py"
    program.write_text(ON_WINDOWS)
    done = subprocess.run(
        [sys.executable, "-W", "error", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "over"


@pytest.mark.parametrize("kind", HIDE)
def test_workers_do_without_what_the_system_lacks(write, tmp_path, kind):
    """Each capability is tested by using it."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(textwrap.dedent(HIDE[kind]))
    program = tmp_path / "client.py"
    program.write_text(WORK)
    job = write("def task(): return 'short'")
    done = subprocess.run(
        [sys.executable, program, job],
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    assert done.stdout.splitlines() == [
        "fork {5} 200000",
        "spawn {5} 200000",
        "over",
    ], done
