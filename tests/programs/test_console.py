"""Output of background jobs on the console of the script that schedules them."""

import sys

import pytest

PYTHON = (sys.executable, "-W", "error", "app.py")
JOB = """
import os, sys
def task():
    print("to stdout ä")
    print("to stderr", file=sys.stderr)
    os.write(1, b"by the system\\n")
    sys.stdout.write("no end")
"""
HEAD = """
import ipycron
def job(name):
    print(f"from {name}")
    print("no end", end="", flush=True)
def run(*names, **options):
    tasks = [
        ipycron.schedule("0 0 1 1 *", job, args=[n], name=n, background=True, **options)
        for n in names
    ]
    for task in tasks:
        task.start().result(30)
    for task in tasks:
        task.execute().result(30)
    return tasks
"""


def test_output_of_one_task_comes_as_it_is(start):
    """Byte for byte, on the right stream; it is kept as well."""
    program = start(
        *PYTHON,
        job=JOB,
        app="""
        import ipycron
        task = ipycron.schedule("0 0 1 1 *", "job.py")
        task.execute().result(30)
        ipycron.shutdown()
        assert "to stderr" in task.last_run.output.stderr
        """,
    )
    assert program.wait() == 0, program.stderr
    assert sorted(program.stdout) == ["by the system", "no end", "to stdout ä"]
    assert program.stderr == ["to stderr"]


def test_each_line_has_its_task_where_several_run(start):
    """An unfinished line is ended before another task's output."""
    app = f"{HEAD}\nrun('one', 'two')\nipycron.shutdown()\n"
    program = start(*PYTHON, app=app)
    assert program.wait() == 0, program.stderr
    assert program.stdout == [
        "[one] from one",
        "[one] no end",
        "[two] from two",
        "[two] no end",
    ]


@pytest.mark.parametrize(
    "calls",
    ["run('one', echo=False)", "ipycron.set_echo(False)\nrun('one')"],
)
def test_output_is_only_kept_where_that_is_asked_for(start, calls):
    """For one task or for all."""
    kept = "\nassert ipycron.get_task('one').last_run.output.stdout[:4] == 'from'"
    program = start(*PYTHON, app=f"{HEAD}\n{calls}{kept}\nipycron.shutdown()\n")
    assert program.wait() == 0, program.stderr
    assert (program.stdout, program.stderr) == ([], [])


def test_unread_console_blocks_no_schedule(start):
    """A closed stream ends nothing; the runs continue."""
    program = start(
        *PYTHON,
        app=f"""{HEAD}
import os, sys
sys.stdout.close()
tasks = run("one", "two")
sys.stderr = None
assert tasks[0].execute().result(30) is None
ipycron.shutdown()
os._exit(5)
""",
    )
    assert program.wait() == 5, program.stderr
