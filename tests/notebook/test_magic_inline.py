"""``--inline``: cells that run in the notebook's own process and namespace.

Here at a prompt, where no loop is running; `test_kernel_cells.py` does it in a kernel.
"""

import pytest
from kernel import strip_colours
from polling import eventually

from ipycron import get_task, shutdown

DEADLINE = 20.0


@pytest.fixture(autouse=True)
def _shut_down(session):
    """End the threads that have run the cells."""
    yield
    shutdown()


def test_inline_cell_runs_in_the_notebook(session):
    """It sees and changes the notebook's own variables."""
    session.run("seen = []")
    session.run(
        "%%cron @yearly --inline --name it\nseen.append(ctx.task.name)\nlen(seen)"
    )
    assert get_task("it").execute().result(DEADLINE) == 1
    assert session.names["seen"] == ["it"]
    assert "ctx" not in session.names


def test_inline_cell_keeps_the_variable_that_it_borrows(session):
    """The notebook's `ctx` is restored afterwards."""
    session.run("ctx = 'mine'")
    session.run("%%cron @yearly --inline --name it\nctx.execution.reason")
    assert get_task("it").execute().result(DEADLINE) == "invoked"
    assert session.names["ctx"] == "mine"


def test_inline_cell_awaits_on_a_thread_where_no_loop_is_running(session):
    """At a prompt no loop runs between two cells."""
    session.run("import asyncio, threading")
    session.run(
        "%%cron @yearly --inline --name it --into got\n"
        "await asyncio.sleep(0)\nthreading.current_thread().name"
    )
    assert get_task("it").execute().result(DEADLINE).startswith("ipycron-")


def test_inline_cell_fails_with_the_lines_of_the_cell(session):
    """The traceback begins with the cell."""
    session.run("%%cron @yearly --inline --name it\n\n1 / 0")
    get_task("it").execute().exception(DEADLINE)
    text = strip_colours(get_task("it").last_run.traceback_text)
    assert "<cell it>:3" in text
    assert "----> 3 1 / 0" in text
    assert "inline_cell.py" not in text


def test_inline_cell_says_what_it_does_in_its_run(session):
    """Prints, displays, result, warnings, logs: in order, and only there."""
    session.run("import logging, sys\nhandler = logging.StreamHandler(sys.stderr)")
    session.run(
        "%%cron @yearly --inline --name it --quiet\n"
        "print('out')\nprint('err', file=sys.stderr)\ndisplay('shown')\n"
        "handler.emit(logging.makeLogRecord({'msg': 'logged'}))\n7"
    )
    get_task("it").execute().result(DEADLINE)
    output = get_task("it").last_run.output
    assert output.stdout == "out\n"
    assert output.stderr == "err\nlogged\n"
    assert [(d.kind, d.data["text/plain"]) for d in output.displays] == [
        ("display", "'shown'"),
        ("result", "7"),
    ]
    assert session.read() == ""
    stdout = session.names["sys"].stdout
    assert "ipycron" not in type(stdout.write).__module__


def test_inline_cell_has_the_output_of_what_it_awaits_and_not_of_its_threads(session):
    """As the manual says: a thread outlives its run, and may work for another."""
    session.run("import asyncio, threading")
    session.run(
        "%%cron @yearly --inline --name it --quiet\n"
        "await asyncio.to_thread(print, 'awaited')\n"
        "thread = threading.Thread(target=print, args=('thread',))\n"
        "thread.start(); thread.join()"
    )
    get_task("it").execute().result(DEADLINE)
    assert get_task("it").last_run.output.stdout == "awaited\n"
    assert session.read() == "thread\n"
    manual = " ".join(session.run("%cron --help").split())
    assert "prints where threads of any cell do" in manual


def test_inline_cell_of_many_lines_says_them_all_in_order(session):
    """However they are collected on the way."""
    session.run("%%cron @yearly --inline --name it\nfor n in range(5000): print(n)")
    get_task("it").execute().result(DEADLINE)
    lines = get_task("it").last_run.output.stdout.split()
    assert lines == [str(n) for n in range(5000)]


def test_inline_runs_beside_each_other_keep_their_output_apart(session):
    """Other output goes where it always goes."""
    session.run("import threading\ngates = [threading.Event() for _ in range(2)]")
    for number in range(2):
        session.run(
            f"%%cron @yearly --inline --name t{number} --quiet\n"
            f"print('first {number}'); gates[{number}].wait(10); print('last {number}')"
        )
    runs = [get_task(f"t{number}").execute() for number in range(2)]
    eventually(lambda: all(get_task(f"t{n}").running for n in range(2)), "both run")
    assert session.run("print('beside')") == "beside\n"
    for number in range(2):
        session.names["gates"][number].set()
        runs[number].result(DEADLINE)
        output = get_task(f"t{number}").last_run.output
        assert output.stdout == f"first {number}\nlast {number}\n"
