"""Files in workers: what they see, what is kept, how they die and recover."""

import os
import signal
import sys
from pathlib import Path

import pytest
from house import NEVER, WORKERS, Record, drain
from polling import SECONDS, eventually

import ipycron
from ipycron.errors import WorkerCrashed

pytestmark = pytest.mark.usefixtures("supervisor")

KINDS = dict(zip(WORKERS, ("fork", "spawn"), strict=True))


@pytest.fixture(params=WORKERS)
def start(request):
    """Start a task of a file; its launcher is fork, then spawn."""

    def start_task(path, expression=NEVER, **options):
        options = {"launcher": KINDS[request.param], **options}
        task = ipycron.create_task(expression, path, **options)
        task.start().result(SECONDS)
        return task

    return start_task


def run(task):
    """Return the result of one run."""
    return task.execute().result(SECONDS)


def test_module_is_loaded_once_and_its_state_stays(start, write):
    """A file's module state is kept from run to run, until a restart."""
    task = start(
        write("""
            import os
            runs = []
            def task():
                runs.append(os.getpid())
                return len(runs), os.getpid()
        """)
    )
    first, second = run(task), run(task)
    assert (first[0], second[0]) == (1, 2)
    assert first[1] == second[1] == task.last_run.pid != os.getpid()
    task.stop().result(SECONDS)
    task.start().result(SECONDS)
    assert run(task)[0] == 1


def test_script_is_run_afresh_each_time_with_its_arguments(start, write):
    """A file without `task` is a script: `__main__`, arguments, current text."""
    source = """
        import sys
        from pathlib import Path
        print(__name__, sys.argv[1:], Path(__file__).name)
        assert "seen" not in globals()
        seen = True
    """
    path = write(source, "report.py")
    task = start(path, args=["--all", "x y"])
    for _ in range(2):
        assert run(task) is None
        assert task.last_run.output.stdout == "__main__ ['--all', 'x y'] report.py\n"
    write("print('edited')", "report.py")
    run(task)
    assert task.last_run.output.stdout == "edited\n"


CALLABLES = {
    "async def task():\n    return 'coroutine'": "coroutine",
    "async def task(ctx):\n    return ctx.execution.reason": "invoked",
    "class Job:\n    def __call__(self): return 'object'\ntask = Job()": "object",
    "from functools import partial\ntask = partial(str, 'partial')": "partial",
    "if True:\n    def task(context=None):\n        return context": None,
    "from job_helper import task": "imported",
}


def test_task_may_be_anything_that_can_be_called(start, write):
    """A function, a coroutine function, an object, a partial, an import."""
    write("def task(): return 'imported'", "job_helper.py")
    for number, (source, result) in enumerate(CALLABLES.items()):
        assert run(start(write(source, f"job{number}.py"))) == result


def test_job_has_the_surroundings_of_its_declaration(
    start, write, tmp_path, monkeypatch
):
    """Folder, environment and module path are those at the creation."""
    path = write("""
        import os, sys
        def task():
            return os.getcwd(), os.environ.get("SHOP"), os.environ.get("TILL"), sys.path
    """)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.setenv("SHOP", "Ada")
    monkeypatch.setattr(sys, "path", [*sys.path, "/somewhere/else"])
    monkeypatch.chdir(folder)
    task = start(path, env={"TILL": "7"})
    monkeypatch.setenv("SHOP", "Bob")
    monkeypatch.chdir(tmp_path)
    cwd, shop, till, modules = run(task)
    assert (cwd, shop, till) == (str(folder), "Ada", "7")
    assert modules[0] == str(path.parent)
    assert "/somewhere/else" in modules
    other = start(path, cwd=folder)
    assert run(other)[:3] == (str(folder), "Bob", None)


def test_job_lacks_what_its_declaration_lacked(start, write, monkeypatch):
    """Even if the supervisor, started earlier, has inherited it."""
    path = write("""
        import os
        def task():
            return os.environ.get("SHOP")
    """)
    monkeypatch.setenv("SHOP", "Ada")
    assert run(start(path)) == "Ada"
    monkeypatch.delenv("SHOP")
    assert run(start(path)) is None


def test_names_need_not_be_utf_8(start, tmp_path, monkeypatch):
    """Folders, files, arguments and variables are bytes to the system."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    path = folder / os.fsdecode(b"t\xe2che.py")
    path.write_text("""
import os, sys
def task():
    here = os.getcwd(), __file__, os.environ["SHOP"], os.environ["TILL"], *sys.argv[1:]
    return [os.fsencode(text) for text in here], [os.fsencode(p) for p in sys.path]
""")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SHOP", os.fsdecode(b"\xe9tal"))
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder / "x"), folder, "\ud800"])
    odd = os.fsdecode(b"\xff\xfe")
    seen, modules = run(start(path, args=[odd], env={"TILL": odd}))
    assert seen[:3] == [os.fsencode(folder), os.fsencode(path), b"\xe9tal"]
    assert seen[3:] == [b"\xff\xfe", b"\xff\xfe"]
    assert modules[-1] == os.fsencode(folder / "x")  # the others are passed over


def test_collector_works_in_a_job(start, write):
    """Our programs load with the collector off; users' garbage is collected."""
    assert run(start(write("import gc\ndef task(): return gc.isenabled()"))) is True


def test_paths_are_text_or_paths_and_relative_to_the_caller(monkeypatch):
    """A relative path starts at the calling file, wherever the process is."""
    monkeypatch.chdir("/")
    file = Path(__file__).parents[2] / "notebooks/tasks/now_and_then.py"
    relative = os.path.relpath(file, Path(__file__).parent)

    class Bytes:
        def __fspath__(self):
            return os.fsencode(file)

    for path in (relative, Path(relative), file, Bytes()):
        task = ipycron.create_task(NEVER, path)
        assert task.source.job.path == os.fsencode(file)


def test_output_belongs_to_its_run(start, write):
    """Late output, too; output while loading belongs to the first run."""
    task = start(
        write("""
            import os, sys
            print("loading")
            def task(ctx):
                print("run", ctx.execution.reason)
                print("oh", file=sys.stderr)
                os.system("echo from a child")
                sys.stdout.write("no newline")
        """)
    )
    run(task)
    first = task.last_run.output
    run(task)
    second = task.last_run.output
    words = "run invoked\nfrom a child\nno newline"
    eventually(lambda: first.stdout == "loading\n" + words)
    eventually(lambda: second.stdout == words)
    assert (first.stderr, second.stderr) == ("oh\n", "oh\n")


def test_character_split_over_reads_stays_whole(write):
    """Text is decoded when somebody reads it, not piece by piece."""
    task = ipycron.create_task(
        NEVER,
        write("""
        import os, time
        def task():
            for byte in "a€é😀z".encode():
                os.write(1, bytes([byte]))
                time.sleep(0.3 if byte > 127 else 0)  # longer than a delivery waits
    """),
    )
    task.start().result(SECONDS)
    run(task)
    assert task.last_run.output.stdout == "a€é😀z"


def test_worker_leads_a_session_of_its_own(start, write):
    """An interrupt of our process group reaches no job; no file is inherited."""
    task = start(
        write("""
            import os
            def task():
                links = []
                for fd in os.listdir("/proc/self/fd"):
                    try:
                        links.append(os.readlink(f"/proc/self/fd/{fd}"))
                    except OSError:
                        pass
                return os.getsid(0), os.getpgrp(), os.getpid(), links
        """)
    )
    with Path(__file__).open() as ours:
        sid, group, pid, links = run(task)
        assert ours.name == __file__
    assert sid == group == pid
    assert not [link for link in links if link.endswith(".py")]


PID = "import os\ndef task():\n    return os.getpid()\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_worker_that_dies_idle_is_replaced(start, write, number):
    """A killed worker is noticed at once, reported, and replaced."""
    task = start(write(PID))
    record = Record(task)
    before = run(task)
    os.kill(before, number)
    (restarted,) = record.wait("task:restarted")
    assert isinstance(restarted.error, WorkerCrashed)
    assert restarted.error.signal_name == number.name
    assert run(task) != before
    assert task.status == "idle"


EXIT = "import os\ndef task():\n    os._exit(CODE)\n"


@pytest.mark.parametrize("code", [0, 7])
def test_run_fails_when_its_worker_exits(start, write, code):
    """An exit during a run is a failure that names the code, even 0."""
    task = start(write(EXIT.replace("CODE", str(code))))
    record = Record(task)
    with pytest.raises(WorkerCrashed, match=f"exited with code {code}") as caught:
        run(task)
    assert caught.value.exit_code == code
    record.wait("task:restarted")
    drain()
    assert record.names == ["execution:started", "execution:failed", "task:restarted"]


def test_task_fails_when_its_workers_keep_dying(start, write):
    """After `max_restarts` deaths in a row the task stops with an error."""
    task = start(write(EXIT.replace("CODE", "3")), max_restarts=1)
    record = Record(task)
    for _ in range(2):
        task.execute().exception(SECONDS)
    (failed,) = record.wait("task:failed")
    assert failed.error.exit_code == 3
    assert task.status == "stopped"
    assert record.names.count("task:restarted") == 1
    task.start().result(SECONDS)
    assert task.status == "idle"


def test_first_death_is_the_last_when_no_restart_is_wanted(start, write):
    """`max_restarts=0` is node-cron's rule: one death stops the task."""
    task = start(write(PID), max_restarts=0)
    record = Record(task)
    os.kill(run(task), signal.SIGKILL)
    (failed,) = record.wait("task:failed")
    assert failed.error.signal_name == "SIGKILL"
    assert task.status == "stopped"


def test_task_restarts_for_ever_when_runs_succeed_in_between(start, write):
    """Only consecutive deaths count: one good run resets the count."""
    task = start(write(PID), max_restarts=1)
    record = Record(task)
    for count in range(1, 4):
        os.kill(run(task), signal.SIGKILL)
        record.wait("task:restarted", count)
    assert run(task)
    assert "task:failed" not in record.names
