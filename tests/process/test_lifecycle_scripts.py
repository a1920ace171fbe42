"""Whole scripts: when they stay alive, how they end, and that nothing is left."""

import signal
import subprocess
import sys
import textwrap

import pytest
from programs import Program

JOB = """
import os, time
def task():
    time.sleep(SLEEP)
    return os.getpid()
"""


@pytest.fixture
def run(tmp_path):
    """Start a script, with files for a quick and a slow job."""
    scripts = []

    def start(source):
        for name, seconds in (("job", "0"), ("slow", "60")):
            (tmp_path / f"{name}.py").write_text(JOB.replace("SLEEP", seconds))
        path = tmp_path / "script.py"
        path.write_text("import ipycron\n" + textwrap.dedent(source))
        elsewhere = tmp_path / "elsewhere"  # a job's path is relative to its script
        elsewhere.mkdir(exist_ok=True)
        scripts.append(Program(elsewhere, sys.executable, "-W", "error", str(path)))
        return scripts[-1]

    yield start
    for script in scripts:
        script.close()


@pytest.mark.parametrize("job", ["'job.py'", "print"])
def test_script_lives_while_a_task_is_started_and_ends_with_the_last(run, job):
    """The schedule keeps the process alive, until the limit ends it."""
    script = run(f"""
        def tell(context):
            print(context.event, flush=True)

        job = {job}
        job = (lambda: None) if job is print else job
        task = ipycron.create_task("* * * * * *", job, max_executions=2)
        task.on("execution:finished", tell).on("task:destroyed", tell)
        print("last line", flush=True)
        task.start()
    """)
    assert script.wait() == 0
    assert script.stdout == [
        "last line",
        *("execution:finished", "execution:finished"),
        "task:destroyed",
    ]
    assert script.stderr == []


@pytest.mark.parametrize(
    "end",
    [
        "task = ipycron.schedule('* * * * * *', 'job.py', unref=True)",
        "task = ipycron.schedule('* * * * * *', 'job.py').unref()",
        "task = ipycron.schedule('* * * * * *', 'job.py'); task.destroy()",
        "task = ipycron.schedule('* * * * * *', lambda: None); task.stop()",
        "task = ipycron.schedule('* * * * * *', lambda: None, unref=True)",
        "task = ipycron.create_task('* * * * * *', 'job.py')",
        "ipycron.schedule('* * * * * *', 'job.py'); ipycron.shutdown()",
        "task = ipycron.schedule('* * * * * *', 'job.py', unref=True); task.execute()",
    ],
)
def test_script_ends_by_itself_when_nothing_holds_it(run, end):
    """Unref'd, stopped, destroyed or unstarted tasks keep no process alive."""
    assert run(end).wait() == 0


def test_script_lives_again_when_a_task_is_refd(run):
    """`ref` and `unref` may be called while the task runs."""
    script = run("""
        import threading
        task = ipycron.schedule("* * * * * *", lambda: None, unref=True).ref()
        runs = []
        def count(context):
            runs.append(1)
            print("run", flush=True)
            if len(runs) == 2:
                task.unref()
        task.on("execution:finished", count)
    """)
    assert script.wait() == 0
    assert script.stdout[:2] == ["run", "run"]


@pytest.mark.parametrize(
    "end",
    ["threading.Thread(target=ipycron.shutdown)", "threading.Thread(target=use_loop)"],
)
def test_script_lives_again_when_ipycron_was_shut_down_in_a_thread(run, end):
    """However often: nothing of earlier clients is left."""
    script = run(f"""
        import asyncio, os, signal, threading

        def use_loop():
            asyncio.run(ipycron.shutdown_async())

        def count():
            return len(os.listdir("/proc/self/fd"))

        counts = []
        for _ in range(4):
            ipycron.schedule("0 0 1 1 *", print)
            thread = {end}
            thread.start()
            thread.join()
            counts.append(count())
            ipycron.schedule("0 0 1 1 *", print)
            ipycron.shutdown()
        ipycron.schedule(
            "* * * * * *", lambda: print("ran", flush=True), max_executions=1
        )
        print(counts[1] == counts[-1], flush=True)
    """)
    assert script.wait() == 0
    assert script.stdout == ["True", "ran"], script.stderr


@pytest.mark.parametrize(
    ("statement", "code", "said"),
    [
        ("raise KeyError('lost')", 1, "KeyError: 'lost'"),
        ("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt"),
    ],
)
def test_script_ends_with_its_exception(run, statement, code, said):
    """A script whose main thread raises ends normally, whatever is scheduled."""
    script = run(f"""
        ipycron.schedule("* * * * * *", "job.py").execute().result()
        ipycron.schedule("* * * * * *", "slow.py").execute()
        {statement}
    """)
    assert script.wait() == code
    assert said in script.stderr


def test_script_ends_when_the_loop_of_its_coroutine_is_closed(run):
    """The task can no longer run, so it keeps nothing alive."""
    script = run("""
        import asyncio
        async def job():
            pass
        async def main():
            global task
            task = ipycron.schedule("* * * * * *", job)
            await task.execute()
        asyncio.run(main())
        print(task.execute().exception(), flush=True)
    """)
    assert script.wait() == 0
    assert "the event loop in which the coroutine function was" in script.stdout[0]


def test_exception_hook_of_the_script_is_called_first(run):
    """A hook that the script set, before or after, keeps working."""
    script = run("""
        import sys
        sys.excepthook = lambda *_: print("mine", flush=True)
        task = ipycron.schedule("* * * * * *", lambda: None)
        task.execute().result()
        before = sys.excepthook
        def top(*error):
            print("top", flush=True)
            before(*error)
        sys.excepthook = top
        raise ValueError
    """)
    assert script.wait() == 1
    assert script.stdout == ["top", "mine"]
    assert script.stderr == []


def test_script_ends_when_it_is_interrupted(run):
    """Ctrl-C ends a script that only its schedule keeps alive."""
    script = run("""
        ipycron.schedule("* * * * * *", "job.py").execute().result()
        print("ready", flush=True)
    """)
    script.wait_line("ready")
    script.process.send_signal(signal.SIGINT)
    script.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_wait_shuts_down_cleanly_on_a_signal(run, number):
    """`wait()` returns on Ctrl-C and SIGTERM, once a run in progress has ended."""
    script = run("""
        import signal, time
        def job():
            while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                time.sleep(0.01)  # until somebody waits
            print("running", flush=True)
            time.sleep(0.5)
            return 42
        task = ipycron.schedule("0 0 1 1 *", job, background=False)
        other = ipycron.schedule("* * * * * *", "job.py")
        run = task.execute()
        print("came:", ipycron.wait(), flush=True)
        print(run.result(0), task.status, other.status, flush=True)
    """)
    script.wait_line("running")
    script.process.send_signal(number)
    assert script.wait() == 0
    assert script.stdout == ["running", "came: False", "42 destroyed destroyed"]
    assert script.stderr == []


def test_wait_returns_when_the_last_task_is_over(run):
    """`wait()` returns with the last task; the script then continues."""
    script = run("""
        task = ipycron.schedule("* * * * * *", "job.py", max_executions=1)
        print(ipycron.wait(), task.status, ipycron.wait(timeout=0.01), flush=True)
    """)
    assert script.wait() == 0
    assert script.stdout == ["True destroyed True"]


def test_nothing_is_left_when_a_script_is_killed(run):
    """SIGKILL of the script ends its supervisor, zygote and busy workers."""
    script = run("""
        ipycron.schedule("* * * * * *", "job.py").execute().result()
        ipycron.schedule("0 0 1 1 *", "slow.py").execute()
        print("ready", flush=True)
    """)
    script.wait_line("ready")
    script.process.kill()
    assert script.wait() == -signal.SIGKILL


def test_copy_of_the_process_is_not_the_client(run):
    """A forked child has no tasks, and its end ends none."""
    script = run("""
        import os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        task = ipycron.schedule("* * * * * *", "job.py")
        task.execute().result()
        child = os.fork()
        if child == 0:
            print("child", len(ipycron.get_tasks()), flush=True)
            own = ipycron.create_task("0 0 1 1 *", lambda: 7)
            own.start().result(20)
            print("child", own.execute().result(20), flush=True)
            ipycron.shutdown()
            os._exit(0)
        os.waitpid(child, 0)
        print("parent", len(ipycron.get_tasks()), task.execute().result(20) > 0)
        ipycron.shutdown()
    """)
    assert script.wait() == 0
    assert script.stdout == ["child 0", "child 7", "parent 1 True"]
    assert script.stderr == []


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_functions_of_a_script_run_in_its_children_of_multiprocessing(run, method):
    """Their main module is a copy with another name."""
    script = run(f"""
        import multiprocessing
        class Found:
            value = 7
        def job():
            return Found()
        def child():
            task = ipycron.schedule("0 0 1 1 *", job, background=True)
            print(task.execute().result(20).value, flush=True)
            ipycron.shutdown()
        if __name__ == "__main__":
            process = multiprocessing.get_context({method!r}).Process(target=child)
            process.start()
            process.join()
    """)
    assert script.wait() == 0
    assert script.stdout == ["7"]


@pytest.mark.parametrize(
    "name",
    [
        "client.completion._lock",
        "client.listeners._lock",
        "process.wire.payload._settling",
    ],
)
def test_lock_that_another_thread_holds_during_a_fork_is_free_in_the_copy(run, name):
    """In the child, no thread would ever release it."""
    script = run(f"""
        import os, threading
        import ipycron.client.completion, ipycron.client.listeners
        import ipycron.process.wire.payload
        ipycron.schedule("0 0 1 1 *", lambda: 1).execute().result(20)
        is_held, is_over = threading.Event(), threading.Event()
        def hold():
            with ipycron.{name}:
                is_held.set()
                is_over.wait(20)
        threading.Thread(target=hold, daemon=True).start()
        is_held.wait(20)
        if not (pid := os.fork()):
            task = ipycron.schedule("0 0 1 1 *", lambda: 2, background=True)
            task.on("execution:finished", lambda _: None)
            os._exit(task.execute().result(20))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        is_over.set()
        ipycron.shutdown()
    """)
    assert script.wait() == 0
    assert script.stdout == ["2"]


def test_nothing_of_ours_is_printed(run):
    """Ipycron only writes through logging: a quiet script stays quiet."""
    script = run("""
        import logging, time
        logging.getLogger("ipycron").addHandler(logging.NullHandler())
        logging.getLogger("ipycron").propagate = False
        def job():
            raise ValueError("no")
        for expression, task in (("* * * * * *", job), ("* * * * * *", "job.py")):
            task = ipycron.schedule(expression, task)
            task.execute().exception(20)
            task.execute()
        time.sleep(1.1)
        ipycron.shutdown()
    """)
    assert script.wait() == 0
    assert (script.stdout, script.stderr) == ([], [])


def test_threads_are_there_when_a_start_has_been_asked_for(run):
    """Python 3.12 starts no threads once the main thread has ended."""
    script = run("""
        import threading
        task = ipycron.create_task("0 0 1 1 *", print, unref=True)
        print(sum(t.name == "ipycron-job" for t in threading.enumerate()))
        task.start()
        print(sum(t.name == "ipycron-job" for t in threading.enumerate()))
        ipycron.shutdown()
    """)
    assert script.wait() == 0
    assert script.stdout == ["0", "2"]


def test_start_does_not_hang_beside_finalizers_and_threads(tmp_path):
    """CPython can deadlock if the collector runs while it lists all frames."""
    path = tmp_path / "script.py"
    path.write_text(
        textwrap.dedent("""
            import gc, os, sys, threading, time
            from ipycron.client.keepalive import MainModule

            class Cycle:
                def __init__(self):
                    self.me = self
                def __del__(self):
                    for _ in range(200):
                        pass

            def churn():
                while True:
                    thread = threading.Thread(target=Cycle)
                    thread.start()
                    thread.join()

            sys.setswitchinterval(1e-6)
            gc.set_threshold(3, 1, 1)
            for _ in range(3):
                threading.Thread(target=churn, daemon=True).start()
            end = time.monotonic() + 2
            while time.monotonic() < end:
                Cycle()
                MainModule().remember()
            os._exit(0)
        """)
    )
    subprocess.run([sys.executable, path], timeout=60, check=True)
