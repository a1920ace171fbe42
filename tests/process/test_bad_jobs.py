"""Jobs that cannot be started, and jobs that misbehave while running."""

import os
import signal
from pathlib import Path

import pytest
from house import EVERY_SECOND, NEVER, WORKERS, Record, drain
from polling import SECONDS, eventually
from watching import SESSION, find_marked

import ipycron
from ipycron.errors import RemoteError, StartError, StartTimeout
from ipycron.process.wire.outcome import get_traceback_text

pytestmark = pytest.mark.usefixtures("supervisor")

LAUNCHERS = dict(zip(WORKERS, ("fork", "spawn"), strict=True))


@pytest.fixture(params=WORKERS)
def create(request):
    """Create a task of a file; its launcher is fork, then spawn."""

    def create_task(path, expression=NEVER, **options):
        return ipycron.create_task(
            expression, path, launcher=LAUNCHERS[request.param], **options
        )

    return create_task


def count_workers():
    """Return how many workers of this session's supervisor there are."""
    return sum(b"worker" in read_command(pid) for pid in find_marked(_mark()))


def _mark():
    return os.environ[SESSION]


def read_command(pid):
    """Return a process's command line; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


# --- what cannot start --------------------------------------------------------------

BROKEN = {
    "raises": ("task = 1\nraise LookupError('config')", LookupError, "config"),
    "syntax": ("def task(:\n    pass", SyntaxError, "invalid syntax"),
    "bytes": ("task = '\0'", SyntaxError, "null bytes"),
    "import": ("import no_such_module\ndef task(): pass", ImportError, "no_such_mod"),
    "number": ("task = 42", TypeError, "job.py defines task as int"),
    "removed": ("def task(): pass\ndel task", TypeError, "defines task as NoneType"),
    "arguments": ("def task(a, b): pass", TypeError, r"requires the arguments \(a, b"),
    "keyword": ("def task(*, now): pass", TypeError, r"arguments \(now\), expected"),
    "leaves": ("def task(): pass\nimport sys\nsys.exit(3)", RemoteError, "SystemExit"),
    "exits": (
        "def task(): pass\nimport os\nos._exit(4)",
        StartError,
        r"exited with code 4\.$",
    ),
    "crash": (
        "def task(): pass\nimport ctypes\nctypes.string_at(0)",
        StartError,
        "was killed by SIGSEGV",
    ),
}


def test_start_fails_with_the_real_error_when_the_file_is_broken(create, write):
    """The start raises the file's own error; the task stops, nothing is left."""
    for what, (source, kind, text) in BROKEN.items():
        task = create(write(source))
        record = Record(task)
        with pytest.raises(kind, match=text) as caught:
            task.start().result(SECONDS)
        assert task.status == "stopped", what
        assert ipycron.get_task(task.id) is task
        record.expect()
        if not isinstance(caught.value, StartError):
            assert get_traceback_text(caught.value), what


def test_start_works_when_the_file_is_mended(create, write):
    """After a failed start, the next one reads the file again."""
    task = create(write("def task(): pass\nraise LookupError('config')"))
    for _ in range(2):
        with pytest.raises(LookupError, match="config"):
            task.start().result(SECONDS)
    write("def task(): return 42")
    task.start().result(SECONDS)
    assert task.execute().result(SECONDS) == 42


def test_execute_fails_with_the_starts_error(create, write):
    """A call during a failing start gets the start's error."""
    task = create(write("import time\ntime.sleep(0.2)\ntask = {}['config']"))
    start, run = task.start(), task.execute()
    for completion in (start, run):
        with pytest.raises(LookupError, match="config"):
            completion.result(SECONDS)


def test_start_times_out_and_ends_what_it_began(create, write):
    """An import that takes too long is ended with all its children."""
    path = write("""
        import os, subprocess, time
        child = subprocess.Popen(["sleep", "60"])
        time.sleep(60)
        def task(): pass
    """)
    task = create(path, start_timeout=1)
    with pytest.raises(StartTimeout, match=r"not loaded within 1 s.*start_timeout"):
        task.start().result(SECONDS)
    assert task.status == "stopped"
    eventually(
        lambda: not any(b"sleep" in read_command(pid) for pid in find_marked(_mark())),
        "the import's child is gone",
    )


# --- what misbehaves ----------------------------------------------------------------

RUDE = {
    "starts threads that never end": """
        import threading
        def task():
            for _ in range(3):
                threading.Thread(target=threading.Event().wait).start()
            return "done"
    """,
    "changes the working directory": """
        import os
        def task():
            os.chdir("/")
            return "done"
    """,
    "closes its standard files": """
        import os, sys
        def task():
            sys.stdout.close()
            os.closerange(0, 3)
            return "done"
    """,
    "replaces the streams": """
        import sys
        def task():
            sys.stdout = sys.stderr = None
            return "done"
    """,
    "handles every signal itself": """
        import signal
        def task():
            for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, signal.SIG_IGN)
            return "done"
    """,
    "forks and comes back": """
        import os
        def task():
            child = os.fork()
            if child:
                os.waitpid(child, 0)
            return "done"
    """,
    "forks and goes on": """
        import os, time
        def task():
            if os.fork() == 0:
                time.sleep(60)
            return "done"
    """,
    "closes every file but its sockets": """
        import os, stat
        def task():
            for name in os.listdir("/proc/self/fd"):
                try:
                    if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                        os.close(int(name))
                except OSError:
                    pass
            return "done"
    """,
    "has no sense of depth": """
        import sys
        def task():
            sys.setrecursionlimit(10**6)
            return "done"
    """,
    "empties its environment": """
        import os
        def task():
            os.environ.clear()
            return "done"
    """,
    "traces and profiles": """
        import sys
        def task():
            sys.settrace(lambda *_: None)
            sys.setprofile(lambda *_: None)
            return "done"
    """,
    "leaves a timer behind": """
        import signal
        def task():
            signal.signal(signal.SIGALRM, lambda *_: None)
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            return "done"
    """,
}


def test_run_ends_well_however_rude_its_job_is(create, write):
    """The result arrives, the next run works, and the stop leaves nothing."""
    for number, (how, source) in enumerate(RUDE.items()):
        task = create(write(source, f"job{number}.py"))
        task.start().result(SECONDS)
        for _ in range(2):
            assert task.execute().result(SECONDS) == "done", how
        task.stop().result(SECONDS)
        assert task.status == "stopped", how


CHANGES = """
    import os, signal

    NUMBERS = signal.SIGINT, signal.SIGPIPE, signal.SIGUSR1, signal.SIGTERM
    NAMES = "FIRST", "GONE", "NEW"
    os.environ["FIRST"], os.environ["GONE"] = "1", "\\udc80\\u20ac"

    def task():
        found = [
            [str(signal.getsignal(number)) for number in NUMBERS],
            [os.environ.get(name) for name in NAMES],
        ]
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, lambda *_: None)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.environ["FIRST"], os.environ["NEW"] = "2", "1"
        del os.environ["GONE"]
        return found
"""


def test_next_run_finds_the_handlers_and_the_environment_of_the_first(create, write):
    """Both default and other handlers; and variables that the file has set."""
    task = create(write(CHANGES))
    task.start().result(SECONDS)
    handlers, variables = task.execute().result(SECONDS)
    assert variables == ["1", "\udc80\u20ac", None]
    for _ in range(2):
        assert task.execute().result(SECONDS) == [handlers, variables]


def test_job_that_ignores_sigterm_is_killed(create, write):
    """A stop is final: SIGTERM, two seconds, SIGKILL."""
    task = create(
        write("""
            import signal, time
            def task():
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                time.sleep(60)
        """),
        stop_timeout=0.1,
    )
    task.start().result(SECONDS)
    run = task.execute()
    eventually(lambda: task.running)
    task.stop().result(SECONDS)
    assert run.exception(SECONDS) is not None
    assert task.status == "stopped"


def test_schedule_goes_on_beside_a_job_that_holds_the_processor(create, write, sleeper):
    """A busy job only overlaps its own next run; other tasks are on time."""
    task = create(
        write("""
            import time
            def task():
                end = time.monotonic() + 1.5
                while time.monotonic() < end:
                    pass
        """),
        EVERY_SECOND,
        no_overlap=True,
    )
    record = Record(task)
    task.start().result(SECONDS)
    record.wait("execution:overlap")
    sleeper.check_missed(record)
    task.destroy(force=True).result(SECONDS)


def test_worker_is_there_again_after_an_interrupt_of_the_job(create, write):
    """SIGINT raises KeyboardInterrupt in the job; the worker survives."""
    path = write("""
        import time
        from pathlib import Path
        def task():
            Path(__file__).with_name("begun").touch()
            time.sleep(30)
    """)
    task = create(path)
    task.start().result(SECONDS)
    run = task.execute()
    (execution,) = eventually(lambda: task.running)
    eventually(path.with_name("begun").exists, "the code has begun")
    os.kill(execution.pid, signal.SIGINT)
    with pytest.raises(RemoteError, match="KeyboardInterrupt"):
        run.result(SECONDS)
    drain()
    assert task.status == "idle"
