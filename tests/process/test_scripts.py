"""Scripts: each run is like `python FILE`, and leaves nothing behind."""

import logging
import os
import re
import textwrap
from pathlib import Path

import pytest
from house import EVERY_SECOND, NEVER, Record
from polling import SECONDS, eventually

import ipycron
from ipycron.errors import ExecutionTimeout, RemoteError, WorkerCrashed

pytestmark = pytest.mark.usefixtures("supervisor")


@pytest.fixture(params=["fork", "spawn"])
def start(request, tmp_path):
    """Start a task with a script's text; return it. Forked and spawned."""

    def start_script(source, expression=NEVER, **options):
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(source))
        options = {"launcher": request.param, "cwd": tmp_path, **options}
        task = ipycron.create_task(expression, path, **options)
        task.start().result(SECONDS)
        return task

    return start_script


def _exists(path):
    return Path(path).exists()


def run(task):
    """Run a task once; return its output."""
    assert task.execute().result(SECONDS) is None
    return task.last_run.output.stdout


# --- how it ends ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "sys.exit(0)",
        "sys.exit(None)",
        "sys.exit()",
        "exit()",
        "quit(0)",
        "raise SystemExit",
        "sys.exit(main())",
        "sys.exit(False)",
    ],
)
def test_script_that_leaves_with_success_has_finished(start, line):
    """By any way of exiting with 0."""
    task = start(
        f"import sys\ndef main(): return 0\nprint('here')\n{line}\nprint('no')"
    )
    assert run(task) == "here\n"
    assert task.last_run.is_ok


@pytest.mark.parametrize(
    ("line", "text", "said"),
    [
        ("sys.exit(3)", "3", ""),
        ("sys.exit(True)", "True", ""),
        ("sys.exit('no such table')", "no such table", "no such table\n"),
        ("exit(4)", "4", ""),
        ("raise SystemExit(-1)", "-1", ""),
    ],
)
def test_script_that_leaves_with_another_code_has_failed(start, line, text, said):
    """The code is reported; a text is written to stderr as well."""
    task = start(f"import sys\n{line}")
    error = task.execute().exception(SECONDS)
    assert isinstance(error, RemoteError)
    assert (error.type_name, error.message) == ("SystemExit", text)
    assert task.last_run.output.stderr == said
    assert task.status == "idle"


def test_run_ends_when_its_threads_do(start):
    """Threads that are not daemons; their output belongs to the run."""
    task = start("""
        import threading, time
        said = threading.Event()
        def work(name):
            said.wait()
            time.sleep(0.2)
            print(name)
        threading.Thread(target=work, args=["worker"]).start()
        threading.Thread(target=time.sleep, args=[60], daemon=True).start()
        print("main")
        said.set()
    """)
    assert run(task) == "main\nworker\n"
    assert 0.2 <= task.last_run.duration < 30  # not as long as the daemon


def test_threads_of_a_failed_run_end_before_it(start):
    """As in Python: the traceback first, then threads may end."""
    task = start("""
        import concurrent.futures, time
        pool = concurrent.futures.ThreadPoolExecutor()
        pool.submit(lambda: (time.sleep(0.2), print("worker")))
        raise ValueError("no")
    """)
    assert isinstance(task.execute().exception(SECONDS), ValueError)
    assert task.last_run.output.stdout == "worker\n"


def test_timeout_ends_a_thread_that_does_not(start):
    """Until then the run is in progress; the next run is not affected."""
    task = start(
        "import threading\nthreading.Thread(target=threading.Event().wait).start()",
        timeout=0.5,
    )
    for _ in range(2):
        assert isinstance(task.execute().exception(SECONDS), ExecutionTimeout)
    assert task.status == "idle"


ENDS = {
    "atexit": "import atexit; atexit.register(print, 'bye')",
    "finalize": (
        "import weakref\nclass C: pass\nc = C(); weakref.finalize(c, print, 'bye')"
    ),
    "del": "class C:\n    def __del__(self): print('bye')\nc = C()",
    "cycle": "class C:\n    def __del__(self): print('bye')\nc = C(); c.c = c; del c",
    "helper": (
        "import pathlib, sys\npathlib.Path('other.py').write_text("
        "'class C:\\n    def __del__(self): print(\"bye\")\\nc = C()')\nimport other"
    ),
}


@pytest.mark.parametrize("source", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("end", ["", "\nraise ValueError('no')", "\nexit()"])
def test_exit_functions_are_called_at_the_end_of_each_run(start, source, end):
    """However it ends; their output belongs to the run."""
    task = start(source + end)
    for _ in range(2):
        task.execute().exception(SECONDS)
        assert task.last_run.output.stdout == "bye\n"


def test_files_and_folders_are_finished_at_the_end_of_a_run(start, tmp_path):
    """Open files are written out, temporary folders removed."""
    task = start("""
        import tempfile
        folder = tempfile.TemporaryDirectory()
        open(folder.name + "/x", "w").write("x")
        out = open("out", "w")
        out.write("written")
        print(folder.name)
    """)
    folder = run(task).strip()
    assert (tmp_path / "out").read_text() == "written"
    assert not _exists(folder)


def test_files_are_finished_beside_a_daemon_thread(start, tmp_path):
    """The thread runs to the end without complaints."""
    task = start("""
        import threading, time
        def work():
            while True:
                time.sleep(0.001)
        threading.Thread(target=work, daemon=True).start()
        out = open("out", "w")
        out.write("written")
    """)
    assert run(task) == ""
    assert task.last_run.output.stderr == ""
    assert (tmp_path / "out").read_text() == "written"


def test_module_that_does_not_bear_a_look_is_left_alone(start):
    """Accessing lazy modules loads them; others raise."""
    task = start("""
        import sys
        class Odd:
            def __getattribute__(self, name):
                print("looked at")
                raise RuntimeError(name)
        sys.modules["odd"] = Odd()
    """)
    assert run(task) == ""
    assert task.last_run.output.stderr == ""


def test_failing_exit_function_costs_nothing_else(start):
    """It is reported on stderr, and the run's outcome is unchanged."""
    task = start("""
        import atexit
        atexit.register(print, "still")
        atexit.register(lambda: 1 / 0)
    """)
    assert run(task) == "still\n"
    assert "ZeroDivisionError" in task.last_run.output.stderr


def test_exception_hook_of_the_script_is_called(start):
    """As at the end of a failing program."""
    task = start("""
        import sys
        sys.excepthook = lambda kind, error, trace: print("hook", kind.__name__, error)
        raise ValueError("no")
    """)
    assert isinstance(task.execute().exception(SECONDS), ValueError)
    assert task.last_run.output.stdout == "hook ValueError no\n"


def test_error_of_a_class_of_the_script_comes_home(start):
    """It is described before the script's module is cleared."""
    task = start("""
        class Odd(Exception):
            def __str__(self): return f"odd: {NAME}"
        NAME = "it"
        raise Odd(1)
    """)
    error = task.execute().exception(SECONDS)
    assert (type(error).__name__, str(error)) == ("Odd", "odd: it")


# --- what it finds --------------------------------------------------------------------

MEDDLER = """
    import json, locale, logging, os, signal, sys
    def describe():
        mask = os.umask(0)
        os.umask(mask)
        mine = logging.getLogger("mine")
        return {
            "folder": os.getcwd(),
            "variable": os.environ.get("LEFT"),
            "home": os.environ.get("HOME"),
            "path": sys.path[:],
            "arguments": sys.argv[:],
            "mask": mask,
            "signals": [str(signal.getsignal(n)) for n in (10, 14, 15)],
            "locale": locale.setlocale(locale.LC_ALL, None),
            "root": [logging.getLogger().level, len(logging.getLogger().handlers)],
            "mine": [mine.level, len(mine.handlers)],
            "disabled": logging.root.manager.disable,
        }
    def meddle():
        os.makedirs("data", exist_ok=True)
        os.chdir("data")
        os.environ["LEFT"] = "1"
        os.environ["HOME"] = "/nowhere"
        sys.path.insert(0, "/nowhere")
        sys.argv.append("more")
        os.umask(0o077)
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.alarm(1000)
        locale.setlocale(locale.LC_ALL, "C.UTF-8")
        logging.basicConfig(level=logging.DEBUG)
        logging.getLogger("mine").addHandler(logging.NullHandler())
        logging.getLogger("mine").setLevel(logging.ERROR)
        logging.disable(logging.INFO)
    def run():
        found = describe()
        meddle()
        return json.dumps(found)
"""
MEDDLER = textwrap.dedent(MEDDLER)


def test_each_run_finds_what_the_first_did(start):
    """Folder, environment, paths, arguments, umask, signals, locale, logging."""
    task = start(MEDDLER + "print(run())", args=["x"])
    first = run(task)
    assert run(task) == first
    assert run(task) == first


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
@pytest.mark.parametrize("kind", ["file", "function", "cell"])
def test_each_run_of_a_worker_finds_what_the_first_did(write, launcher, kind):
    """For a file with `task`, a function and a cell, whose worker lives on."""
    options = {"launcher": launcher}
    if kind == "file":
        job = write(MEDDLER + "def task(): return run()")
        options["args"] = ["x"]
    elif kind == "cell":
        job = make_cell(MEDDLER + "run()")
    else:
        scope = {}
        exec(MEDDLER, scope)
        job = scope["run"]
        options["background"] = True
    task = ipycron.create_task(NEVER, job, **options)
    task.start().result(SECONDS)
    found = [task.execute().result(SECONDS) for _ in range(5)]
    assert len(set(found)) == 1, found


def make_cell(source):
    """Return a notebook's cell without captured variables."""
    from ipycron.client.jobs import Cell  # noqa: PLC0415 - as other tests of cells do
    from ipycron.process.wire.payload import pack_object  # noqa: PLC0415 - as above

    return Cell(source=source, filename="<cell>", payload=pack_object({}))


@pytest.mark.parametrize("settles", [True, False])
def test_edited_helper_is_reloaded(start, tmp_path, settles):
    """Even within the same second in which it was first written."""
    helper = tmp_path / "helper_of_script.py"
    task = start("import helper_of_script\nprint(helper_of_script.VALUE)")
    for value in range(3):
        helper.write_text(f"VALUE = {value}\n")
        if settles:
            os.utime(helper, (value, value))
        assert run(task) == f"{value}\n"


def test_script_that_is_broken_for_a_while_fails_until_it_is_not(start, tmp_path):
    """Each run reads it again; the task continues and remains a script."""
    task = start("print('one')", max_restarts=0)
    path = tmp_path / "script.py"
    assert run(task) == "one\n"
    path.write_text("print('two'")
    run_broken = [task.execute().exception(SECONDS) for _ in range(3)]
    assert {type(error) for error in run_broken} == {SyntaxError}
    path.write_text("print('three')")
    assert run(task) == "three\n"
    assert run(task) == "three\n"
    path.unlink()
    assert isinstance(task.execute().exception(SECONDS), FileNotFoundError)
    assert isinstance(task.execute().exception(SECONDS), FileNotFoundError)
    path.write_text("print('four')")
    assert run(task) == "four\n"


# --- what it logs ---------------------------------------------------------------------

LOGS = {
    "basicConfig": "logging.basicConfig(level=logging.INFO, format=F)",
    "force": (
        "logging.basicConfig(format='no %(message)s')\n"
        "logging.basicConfig(level=logging.INFO, format=F, force=True)"
    ),
    "handlers cleared": (
        "logging.root.handlers.clear()\n"
        "logging.basicConfig(level=logging.INFO, format=F)"
    ),
    "handlers removed": (
        "for h in logging.root.handlers[:]: logging.root.removeHandler(h)\n"
        "logging.basicConfig(level=logging.INFO, format=F)"
    ),
    "dictConfig": (
        "import logging.config\n"
        "logging.config.dictConfig({'version': 1, 'disable_existing_loggers': False,"
        " 'formatters': {'f': {'format': F}},"
        " 'handlers': {'h': {'class': 'logging.StreamHandler', 'formatter': 'f'}},"
        " 'root': {'level': 'INFO', 'handlers': ['h']}})"
    ),
    "handler": (
        "h = logging.StreamHandler(); h.setFormatter(logging.Formatter(F))\n"
        "logging.root.addHandler(h); logging.root.setLevel(logging.INFO)"
    ),
}


@pytest.mark.parametrize("source", LOGS.values(), ids=LOGS)
@pytest.mark.parametrize("kind", ["script", "cell"])
def test_logging_that_a_job_configures_is_its_output_and_forwarded(
    start, caplog, source, kind
):
    """In its format and level, and once to the client's handlers, in each run."""
    caplog.set_level(logging.INFO)
    text = (
        f"import logging\nF = '%(levelname)s|%(message)s'\n{source}\n"
        "logging.info('hello')\nlogging.getLogger('a.b').warning('there')\n"
        "logging.debug('no')\n"
    )
    if kind == "script":
        task = start(text)
    else:
        task = ipycron.create_task(NEVER, make_cell(text + "None"))
        task.start().result(SECONDS)
    for number in (1, 2):
        assert task.execute().result(SECONDS) is None
        assert task.last_run.output.stderr == "INFO|hello\nWARNING|there\n"
        expected = [("root", "hello"), ("a.b", "there")] * number
        eventually(lambda: get_records(caplog) == expected)  # noqa: B023 - at once


def get_records(caplog):
    """Return names and texts of the jobs' log records."""
    names = ("root", "a.b")
    return [(r.name, r.getMessage()) for r in caplog.records if r.name in names]


def test_levels_of_the_client_count_for_what_a_script_logs(start, caplog):
    """Not for what it prints itself."""
    caplog.set_level(logging.WARNING)
    task = start("""
        import logging
        logging.basicConfig(level=logging.INFO)
        logging.info("quiet")
        logging.error("loud")
    """)
    run(task)
    assert task.last_run.output.stderr == "INFO:root:quiet\nERROR:root:loud\n"
    eventually(lambda: get_records(caplog) == [("root", "loud")])


# --- what holds as before -------------------------------------------------------------


def test_runs_begin_at_their_slots_each_in_a_process_of_its_own(start):
    """The next process is ready before its slot; the reported pid is right."""
    task = start(
        """
        import os, time
        ticks = int(open("/proc/self/stat").read().rpartition(")")[2].split()[19])
        born = ticks / os.sysconf("SC_CLK_TCK")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - born
        print(os.getpid(), time.time(), time.time() - age)
        """,
        EVERY_SECOND,
        tolerance=10,
    )
    record = Record(task)

    def find_runs():
        ends = record.of("execution:finished")
        return [(end, *end.execution.output.stdout.split()) for end in ends]

    def were_ready():
        slots = [float(born) < end.date.timestamp() for end, _, _, born in find_runs()]
        return len(slots) >= 4 and sum(slots) >= 2

    # A busy machine may take more than a second for some of them.
    eventually(were_ready, lambda: f"two that were ready: {find_runs()}")
    task.stop().result(SECONDS)
    record.wait("task:stopped")
    runs = find_runs()
    for end, pid, began, _ in runs:
        assert int(pid) == end.execution.pid
        assert end.date.timestamp() <= float(began)
    assert len({pid for _, pid, _, _ in runs}) == len(runs)
    # Each has a process of its own: one may end before the one before it.
    slots = sorted(end.date.timestamp() for end, *_ in runs)
    assert slots == [slots[0] + number for number in range(len(slots))]


def test_process_is_gone_after_its_run(start):
    """One process waits for the next run, and no other is left."""
    task = start("import os\nprint(os.getpid())")
    pids = [int(run(task)) for _ in range(3)]
    eventually(lambda: not any(_exists(f"/proc/{pid}") for pid in pids))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("os._exit(0)", "exited with code 0"),
        ("os.kill(os.getpid(), 11)", "SIGSEGV"),
    ],
)
def test_death_of_a_script_is_a_crash(start, line, text):
    """With its last lines of stderr, and a restart event."""
    task = start(f"import os, sys\nprint('last', file=sys.stderr, flush=True)\n{line}")
    record = Record(task)
    error = task.execute().exception(SECONDS)
    assert isinstance(error, WorkerCrashed)
    assert re.search(text, str(error))
    assert "last" in error.output
    record.wait("task:restarted")


def test_calls_do_not_wait_for_each_other_and_overlap_if_they_may(start, tmp_path):
    """Each has its own process; `no_overlap` still applies."""
    task = start("""
        import os, time
        open(str(os.getpid()) + ".pid", "w").close()
        while len([n for n in os.listdir(".") if n.endswith(".pid")]) < 3:
            time.sleep(0.01)
    """)
    calls = [task.execute() for _ in range(3)]
    for call in calls:
        assert call.result(SECONDS) is None


def test_stop_lets_a_script_end_and_start_begins_afresh(start, tmp_path):
    """As for any task: a run in progress gets its time."""
    task = start("import time\nopen('begun', 'w')\ntime.sleep(0.3)\nprint('done')")
    call = task.execute()
    eventually((tmp_path / "begun").exists)
    task.stop().result(SECONDS)
    assert call.result(SECONDS) is None
    task.start().result(SECONDS)
    assert run(task) == "done\n"


def test_broken_script_does_not_start(start, tmp_path):
    """The original error is raised, whether or not it has run before."""
    task = start("print(1)")
    run(task)
    task.stop().result(SECONDS)
    (tmp_path / "script.py").write_text("print(")
    with pytest.raises(SyntaxError):
        task.start().result(SECONDS)
    assert task.status == "stopped"


# --- files with `task`, and cells -----------------------------------------------------

LEAVE = """
import atexit, tempfile, weakref
class C: pass
c = C()
folder = tempfile.TemporaryDirectory()
name = folder.name
def leave():
    open(PATH, "a").write("bye ")
"""


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
@pytest.mark.parametrize("kind", ["file", "cell"])
def test_exit_functions_of_a_worker_are_called_at_the_stop(
    write, tmp_path, launcher, kind
):
    """`atexit`, finalizers, temporary folders: not after each run, only once."""
    out = tmp_path / "out"
    source = LEAVE.replace("PATH", repr(str(out)))
    once = "atexit.register(leave); weakref.finalize(c, leave)\n"
    if kind == "file":
        job = write(source + once + "def task(): return name")
    else:
        job = make_cell(
            f"if 'done' not in globals():\n{textwrap.indent(source, '    ')}"
            f"    done = True; {once}name"
        )
    task = ipycron.create_task(NEVER, job, launcher=launcher)
    task.start().result(SECONDS)
    (name,) = {task.execute().result(SECONDS) for _ in range(3)}
    assert _exists(name)
    assert not out.exists()
    task.stop().result(SECONDS)
    assert out.read_text() == "bye bye "
    assert not _exists(name)


def test_exit_functions_are_not_called_when_a_worker_is_killed(write, tmp_path):
    """After a timeout or a forced stop, as in a killed program."""
    out = tmp_path / "out"
    source = LEAVE.replace("PATH", repr(str(out))) + "atexit.register(leave)\n"
    task = ipycron.create_task(
        NEVER,
        write(source + "def task():\n    import time; time.sleep(60)"),
        timeout=0.3,
    )
    task.start().result(SECONDS)
    assert isinstance(task.execute().exception(SECONDS), ExecutionTimeout)
    assert not out.exists()


@pytest.mark.parametrize("line", ["sys.exit(0)", "exit()", "quit(0)", "sys.exit()"])
def test_cell_that_leaves_with_success_has_finished(line):
    """Its result is None; another code is a failure with that code."""
    task = ipycron.create_task(NEVER, make_cell(f"import sys\nprint('here')\n{line}"))
    task.start().result(SECONDS)
    assert run(task) == "here\n"
    task = ipycron.create_task(NEVER, make_cell("import sys\nsys.exit(3)"))
    task.start().result(SECONDS)
    assert str(task.execute().exception(SECONDS)).startswith("SystemExit: 3")
