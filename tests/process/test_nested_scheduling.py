"""Modules that schedule on import, imported where jobs run: nothing is scheduled."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from polling import eventually
from watching import MARK, find_marked

import ipycron
from ipycron.errors import NestedSchedule
from ipycron.process.nesting import MARK as INSIDE

MOST = 10
"""Processes of one program: a client, a supervisor, a zygote, workers, children."""

APP = """
import os, ipycron

def tick():
    with open("ticks", "a") as file:
        print(os.getpid(), file=file)

def crunch():
    return 1

ticking = ipycron.schedule("* * * * * *", tick, name="tick")
background = ipycron.schedule(
    "* * * * * *", crunch, background=True, launcher=os.environ["LAUNCHER"], name="bg"
)
"""


class Program:
    """Runs a main program; kills it if it becomes more than `MOST` processes."""

    def __init__(self, folder, launcher="fork"):
        self.folder = folder
        self.mark = os.urandom(8).hex()
        self.most = 0
        self._environment = {**os.environ, MARK: self.mark, "LAUNCHER": launcher}
        self._is_over = threading.Event()

    def write(self, name, source):
        """Write a file of the program."""
        (self.folder / name).write_text(textwrap.dedent(source))

    def run(self, source, *arguments):
        """Run `source` as the main program; return its last output line, as JSON."""
        self.write("main.py", source)
        process = subprocess.Popen(
            [sys.executable, *(arguments or ["main.py"])],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        guard = threading.Thread(target=self._guard)
        guard.start()
        try:
            self.stdout, self.stderr = process.communicate(timeout=60)
        finally:
            self._is_over.set()
            guard.join()
            process.kill()
        eventually(lambda: not find_marked(self.mark), "nothing is left")
        assert self.most <= MOST
        assert process.returncode == 0, self.stderr
        return json.loads(self.stdout.splitlines()[-1])

    def _guard(self):
        while not self._is_over.wait(0.05):
            processes = find_marked(self.mark)
            self.most = max(self.most, len(processes))
            if self.most > MOST:
                for pid in processes:
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture(params=["fork", "spawn"])
def program(request, tmp_path):
    """Create a program with an application that schedules on import."""
    program = Program(tmp_path, request.param)
    program.write("app.py", APP)
    return program


def test_module_that_schedules_is_imported_for_its_function_without_scheduling(program):
    """A worker that imports it runs the job; only the program's tasks exist."""
    found = program.run("""
        import json, os, app, ipycron
        app.background.execute().result(20)
        ipycron.wait([app.background, app.ticking], runs=2, timeout=20)
        last = app.background.last_run
        ipycron.shutdown()
        ticks = set(open("ticks").read().split())
        print(json.dumps([last.result, ticks == {str(os.getpid())}]))
    """)
    assert found == [1, True]


def test_import_that_schedules_is_logged_once_with_its_line(program):
    """The record names the file, the line and what to do."""
    program.run("""
        import json, logging, app, ipycron
        app.background.execute().result(20)
        ipycron.shutdown()
        print(json.dumps(0))
    """)
    assert program.stderr.count("app.py, line 11: task 'tick' was not scheduled") == 1
    assert program.stderr.count("app.py, line 12: task 'bg' was not scheduled") == 1
    assert '__name__ == "__main__"' in program.stderr


FILES = {
    "task": "import app\ndef task(): return 2",
    "script": "import app\n",
    "late": "def task():\n    import app\n    return 2",
}


@pytest.mark.parametrize("kind", FILES)
def test_file_that_imports_the_application_schedules_nothing(program, kind):
    """A task file, a script and a job with a late import just run."""
    program.write("job.py", FILES[kind])
    found = program.run("""
        import json, os, app, ipycron
        job = ipycron.create_task(
            "0 0 1 1 *", "job.py", launcher=os.environ["LAUNCHER"]
        )
        job.start().result(20)
        results = [job.execute().result(20) for _ in range(3)]
        ipycron.wait([app.background, app.ticking], runs=1, timeout=20)
        ipycron.shutdown()
        ticks = set(open("ticks").read().split())
        print(json.dumps([results, ticks == {str(os.getpid())}]))
    """)
    expected = None if kind == "script" else 2
    assert found == [[expected] * 3, True]
    assert program.stderr.count("task 'tick' was not scheduled") == 1


def test_scheduling_job_fails_with_a_clear_error(workers):
    """A job that calls schedule() is refused, and the worker survives."""

    def job():
        return ipycron.schedule("* * * * *", print)

    task = workers.start(job)
    for _ in range(2):
        error = task.execute().exception(20)
        assert type(error) is NestedSchedule
        assert error.file == __file__
        assert "executor=" in str(error)
        assert INSIDE in str(error)
    assert task.status == "idle"


def test_script_that_schedules_itself_fails_with_a_clear_error(tmp_path):
    """A script's own code is a running job."""
    path = tmp_path / "job.py"
    path.write_text("import ipycron\nipycron.schedule('* * * * * *', __file__)\n")
    task = ipycron.create_task("0 0 1 1 *", path)
    task.start().result(20)
    error = task.execute().exception(20)
    assert type(error) is NestedSchedule
    assert (Path(error.file), error.line) == (path, 2)


BELOW = {
    "subprocess": "subprocess.run([sys.executable, 'main.py'], **said)",
    "module": "subprocess.run([sys.executable, '-m', 'main'], **said)",
    "inline": "subprocess.run([sys.executable, '-c', INLINE], **said)",
    "command": "subprocess.run([sys.executable, '-m', 'ipycron.cli', *RUN], **said)",
}


@pytest.mark.parametrize("way", BELOW)
def test_program_started_by_a_job_does_not_schedule(program, way):
    """It ends with the error, and no supervisor is started."""
    program.write(
        "work.py",
        f"""
        import subprocess, sys
        said = dict(capture_output=True, text=True)
        INLINE = "import ipycron; ipycron.schedule('* * * * * *', print)"
        RUN = ["run", "* * * * * *", "main.py"]

        def work():
            done = {BELOW[way]}
            return done.returncode, done.stderr
        """,
    )
    code, complaint = program.run("""
        import json, os, ipycron
        from work import work
        task = ipycron.schedule(
            "0 0 1 1 *", work, background=True, launcher=os.environ["LAUNCHER"]
        )
        print(json.dumps(task.execute().result(20)))
        ipycron.shutdown()
    """)
    assert code != 0
    assert "a job cannot schedule" in complaint


def test_program_started_without_the_mark_schedules_on_its_own(program):
    """As the error suggests."""
    program.write(
        "work.py",
        f"""
        import os, subprocess, sys
        CODE = '''import ipycron
        print(ipycron.schedule("0 0 1 1 *", int, background=True).execute().result())
        ipycron.shutdown()'''.replace("        ", "")

        def work():
            environment = {{k: v for k, v in os.environ.items() if k != {INSIDE!r}}}
            done = subprocess.run(
                [sys.executable, "-c", CODE], env=environment, stdout=subprocess.PIPE
            )
            return done.stdout.decode()
        """,
    )
    printed = program.run("""
        import json, os, ipycron
        from work import work
        task = ipycron.schedule("0 0 1 1 *", work, background=True)
        print(json.dumps(task.execute().result(20)))
        ipycron.shutdown()
    """)
    assert printed == "0\n"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_children_of_a_job_schedule_nothing(tmp_path, method):
    """Neither when their module is imported again nor by calling schedule()."""
    program = Program(tmp_path)
    program.write("app.py", APP)
    program.write(
        "work.py",
        f"""
        import multiprocessing, ipycron

        def nested():
            import app
            try:
                ipycron.schedule("* * * * * *", print)
            except ipycron.IpycronError as error:
                return app.background.status, type(error).__name__

        def work():
            with multiprocessing.get_context({method!r}).Pool(1) as pool:
                return pool.apply(nested)
        """,
    )
    found = program.run("""
        import json, ipycron
        from work import work
        task = ipycron.schedule("0 0 1 1 *", work, background=True)
        print(json.dumps(task.execute().result(20)))
        ipycron.shutdown()
    """)
    assert found == ["stopped", "NestedSchedule"]


POOLS = {
    "fork": "ProcessPoolExecutor(1, multiprocessing.get_context('fork'))",
    "spawn": "ProcessPoolExecutor(1, multiprocessing.get_context('spawn'))",
    "forkserver": "ProcessPoolExecutor(1, multiprocessing.get_context('forkserver'))",
    "loky": "loky.ProcessPoolExecutor(1)",
}


@pytest.mark.parametrize("pool", POOLS)
def test_processes_of_a_pool_schedule_nothing(tmp_path, pool):
    """Each process of a pool imports a main program without a guard again."""
    program = Program(tmp_path)
    program.write("app.py", APP)
    program.write("nested.py", "import ipycron\nipycron.schedule('* * * * *', print)\n")
    found = program.run(f"""
        import json, multiprocessing, os, loky, ipycron
        from concurrent.futures import ProcessPoolExecutor

        def job():
            import nested
            try:
                ipycron.schedule("* * * * * *", print)
            except ipycron.IpycronError as error:
                return os.getpid(), type(error).__name__

        executor = {POOLS[pool]} if __name__ == "__main__" else None
        task = ipycron.schedule("* * * * * *", job, executor=executor)
        if __name__ == "__main__":
            pid, name = task.execute().result(20)
            ipycron.shutdown()
            executor.shutdown()
            print(json.dumps([pid == os.getpid(), name]))
    """)
    assert found == [False, "NestedSchedule"]


def test_worker_of_a_dask_cluster_schedules_nothing(tmp_path):
    """Nor does it keep the mark after the run: it is not ipycron's process."""
    program = Program(tmp_path)
    program.write("app.py", APP)
    program.write(
        "work.py",
        """
        import os, ipycron

        def work():
            import app
            try:
                ipycron.schedule("* * * * * *", print)
            except ipycron.IpycronError as error:
                return app.background.status, type(error).__name__, os.getpid()
        """,
    )
    found = program.run(f"""
        import json, os, ipycron
        from dask.distributed import Client
        from work import work

        if __name__ == "__main__":
            with Client(n_workers=1, threads_per_worker=1, dashboard_address=None) as c:
                task = ipycron.schedule("0 0 1 1 *", work, executor=c)
                *seen, pid = task.execute().result(20)
                marks = c.run(lambda: os.environ.get({INSIDE!r}))
                ipycron.shutdown()
            print(json.dumps([seen, pid == os.getpid(), *marks.values()]))
    """)
    assert found == [["stopped", "NestedSchedule"], False, None]


def test_cell_that_imports_the_application_schedules_nothing(tmp_path):
    """Neither by the import, nor by its own magic or call."""
    program = Program(tmp_path)
    program.write("app.py", APP)
    found = program.run("""
        import json, ipycron
        from IPython.core.interactiveshell import InteractiveShell
        shell = InteractiveShell.instance()
        shell.run_cell("%load_ext ipycron")
        shell.run_cell("%%cron @yearly --name cell --quiet\\nimport app\\n"
                       "app.background.status")
        shell.run_cell("%%cron @yearly --name nested --quiet\\nimport ipycron\\n"
                       "%load_ext ipycron\\nipycron.schedule('* * * * * *', print)")
        result = ipycron.get_task("cell").execute().result(20)
        error = ipycron.get_task("nested").execute().exception(20)
        ipycron.shutdown()
        print(json.dumps([result, type(error).__name__]))
    """)
    assert found == ["stopped", "NestedSchedule"]


def test_thread_pool_of_the_program_itself_may_schedule(tmp_path):
    """A job in a thread of the client is in the client's own process."""
    found = Program(tmp_path).run("""
        import json, ipycron
        from concurrent.futures import ThreadPoolExecutor

        def job():
            return ipycron.create_task("0 0 1 1 *", print).status

        task = ipycron.schedule("0 0 1 1 *", job, executor=ThreadPoolExecutor(1))
        print(json.dumps(task.execute().result(20)))
        ipycron.shutdown()
    """)
    assert found == "stopped"


def test_inert_task_does_nothing_and_says_why(tmp_path):
    """It can be started, stopped, listened to and waited for, but never runs."""
    program = Program(tmp_path)
    program.write(
        "app.py",
        """
        import ipycron
        task = ipycron.create_task("* * * * * *", "no such file.py", name="a")
        task.on("*", print).start().result(30)
        is_over = ipycron.wait(task, timeout=5) and ipycron.wait(task, runs=1)
        error = task.execute().exception(30)
        task.stop().result(30)
        task.destroy().result(30)
        seen = task.status, task.next_run, is_over, type(error).__name__
        known = len(ipycron.get_tasks())
        """,
    )
    program.write("work.py", "import app\ndef task(): return app.seen, app.known")
    found = program.run("""
        import json, ipycron
        task = ipycron.schedule("0 0 1 1 *", "work.py")
        print(json.dumps(task.execute().result(20)))
        ipycron.shutdown()
    """)
    assert found == [["stopped", None, True, "NestedSchedule"], 0]


def test_supervisor_below_a_job_refuses_to_start(tmp_path):
    """Because of the mark that it inherited."""
    code = "from ipycron.process.supervisor.program import main; main(0, 1)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, INSIDE: "worker"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode != 0
    assert "NestedSchedule" in done.stderr
