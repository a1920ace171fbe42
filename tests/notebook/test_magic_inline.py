"""``--inline``: cells that run in the notebook's own process and namespace.

Here at a prompt, where no loop is running; `test_kernel_cells.py` does it in a kernel.
"""

import pytest
from kernel import strip_colours

from ipycron import get_task, shutdown

DEADLINE = 10.0


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
    """`ctx` is the notebook's again afterwards."""
    session.run("ctx = 'mine'")
    session.run("%%cron @yearly --inline --name it\nctx.execution.reason")
    assert get_task("it").execute().result(DEADLINE) == "invoked"
    assert session.names["ctx"] == "mine"


def test_inline_cell_awaits_on_a_thread_where_no_loop_is_running(session):
    """At a prompt there is no loop between two cells."""
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
