"""Scheduled cells in a real kernel: output, ownership, interrupts, restarts, loops."""

import re
import time

import pytest
from kernel import BUSY, DEADLINE, Kernel
from polling import eventually

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def fresh():
    """A kernel for one test, with the extension loaded."""
    yield from make_kernel()


@pytest.fixture(scope="module")
def shared():
    """A kernel for many tests, with the extension loaded and the supervisor ready."""
    yield from make_kernel()


def make_kernel():
    """Yield a kernel; shut it down in any case."""
    kernel = Kernel()
    try:
        assert kernel.run("%load_ext ipycron\nimport time, ipycron") == ""
        kernel.run("%%cron @yearly --name warm --quiet\n1")
        kernel.run("%cron run warm --wait\n%cron destroy warm")
        yield kernel
    finally:
        kernel.close()


@pytest.fixture
def kernel(shared):
    """The shared kernel, without tasks."""
    yield shared
    shared.run("%cron destroy --all --force")
    shared.displays.clear()


def test_cell_shows_its_output_under_itself(kernel):
    """Text and HTML in the declaring cell's output, updated after each run."""
    kernel.run("n = 20\ndef times(a):\n    return a * n")
    said = kernel.run("%%cron * * * * * * --name it\nprint('got', times(2))\n[1]")
    assert said.lstrip().startswith("it: Every second (")
    assert "captured: times (function), n (int)" in said
    # It goes on: by the time that it is counted, there may have been another run.
    assert re.search(
        r"waited [\d.]+ s; it: ([2-9]|\d\d+) runs\n",
        kernel.run("%cron wait it --runs 2"),
    )
    data = kernel.find_display(lambda d: "got 40\n  [1]" in d["text/plain"])
    assert data["text/plain"].splitlines()[-2:] == ["  got 40", "  [1]"]
    assert "<pre" in data["text/html"]


def test_failures_stay_under_their_cell(kernel):
    """Nothing is written below another cell that happens to be the last."""
    kernel.run("%%cron * * * * * * --name it\n1 / 0")
    kernel.run("%cron wait it --runs 1")
    kernel.run("x = 1")
    time.sleep(1.5)  # noqa: TID251 - runs fail meanwhile
    streams = [m for m in kernel.drain(0.5) if m["msg_type"] == "stream"]
    assert streams == []
    data = kernel.find_display(lambda d: "ZeroDivisionError" in d["text/plain"])
    assert "Cell it, line 2" in data["text/plain"]


def test_log_records_of_a_job_are_part_of_its_output(kernel):
    """Without logging configuration, a warning belongs to its run's output."""
    kernel.run(
        "%%cron @yearly --name it\nimport logging\n"
        "logging.getLogger('job').warning('beware of %s', 'it')"
    )
    kernel.run("%cron run it --wait")
    kernel.find_display(lambda d: "  beware of it" in d["text/plain"])
    assert kernel.run("print(ipycron.get_task('it').last_run.output.stderr)") == (
        "beware of it\n\n"
    )


def test_log_records_of_a_job_go_to_the_notebook_s_own_handlers(kernel):
    """With logging configured, they go to its handlers and not to the output."""
    kernel.run(
        "import logging\nkept = []\nhandler = logging.Handler()\n"
        "handler.emit = lambda record: kept.append(record.getMessage())\n"
        "logging.getLogger().addHandler(handler)"
    )
    kernel.run("%%cron @yearly --name it\nimport logging\nlogging.warning('beware')")
    kernel.run("%cron run it --wait\nwhile not kept: time.sleep(0.01)")
    kernel.run("logging.getLogger().removeHandler(handler)")
    assert kernel.run(
        "print(kept, repr(ipycron.get_task('it').last_run.output.stderr))"
    ) == ("['beware'] ''\n")


def test_everything_but_widgets_works_without_them(fresh):
    """Text and HTML replace the card, a table replaces the panel."""
    fresh.run("import sys\nsys.modules['anywidget'] = None")
    fresh.run("%%cron @yearly --name it\n'fine'")
    assert "it: " in fresh.run("%cron run it --wait")
    data = fresh.find_display(lambda d: "'fine'" in d["text/plain"])
    assert set(data) == {"text/plain", "text/html"}
    assert fresh.run("%cron panel").splitlines()[1].startswith("it  ")
    table = fresh.run("import ipycron\nipycron.panel()")
    assert table.splitlines()[1].startswith("it  ")
    assert "it  " in fresh.run("ipycron.get_task('it')")


def test_start_that_fails_says_why_under_its_cell(kernel, tmp_path):
    """The file's traceback, where it was declared."""
    (tmp_path / "bad.py").write_text("import nothing_here\ndef task(): pass\n")
    kernel.run(f"%cron @yearly {tmp_path}/bad.py")
    data = kernel.find_display(lambda d: "did not start" in d["text/plain"])
    assert "No module named 'nothing_here'" in data["text/plain"]


def test_cell_replaces_its_task_when_it_is_edited(kernel):
    """The kernel receives the cell's id from the front end."""
    kernel.run("%%cron @yearly\n1", cell_id="a")
    assert "replaces cell-1" in kernel.run("%%cron @daily\n2", cell_id="a")
    kernel.run("%%cron @weekly\n1", cell_id="b")
    kernel.run("while len(ipycron.get_tasks()) > 2: time.sleep(0.01)")
    listed = kernel.run("print([t.pattern for t in ipycron.get_tasks().values()])")
    assert listed == "['@daily', '@weekly']\n"
    assert "cell-1: ended" in kernel.run("pass", cell_id="a")
    assert "cell-2" in kernel.run("%cron")


def test_results_go_to_a_variable_of_the_notebook(kernel):
    """``--into`` binds them even while the notebook is busy."""
    kernel.run("%%cron @yearly --run-now --into got\n{'a': [1]}")
    kernel.run(
        "for _ in range(2000):\n    if 'got' in dir(): break\n    time.sleep(0.01)"
    )
    assert kernel.run("got") == "{'a': [1]}\n"


def test_interrupt_stops_the_cell_and_no_task(kernel):
    """A run in progress continues, and so does the schedule."""
    kernel.run(
        "%%cron * * * * * * --name it --no-overlap\n"
        "import time\ntime.sleep(1.5)\n'done'"
    )
    busy = kernel.begin(
        "while not ipycron.get_task('it').is_busy:\n    time.sleep(0.01)\n" + BUSY
    )
    kernel.wait_for_text("busy")
    kernel.interrupt()
    assert "KeyboardInterrupt" in kernel.finish(busy)
    kernel.run("%cron wait it --runs 2")
    said = kernel.run(
        "h = ipycron.get_task('it').history\nprint(h.failed, h[0].summary)"
    )
    assert said == "0 'done'\n"


def test_interrupt_ends_a_wait_and_no_task(kernel):
    """`%cron wait` is interrupted like any cell."""
    kernel.run("%%cron @yearly --name it\n1")
    waiting = kernel.begin("print('waiting')\n%cron wait it --runs 1")
    kernel.wait_for_text("waiting")
    kernel.interrupt()
    assert "KeyboardInterrupt" in kernel.finish(waiting)
    assert "it  " in kernel.run("%cron")


@pytest.mark.alone
def test_busy_cell_delays_no_run(kernel):
    """Slots are on time while the main thread sleeps or holds the GIL."""
    kernel.run(
        "%%cron * * * * * * --name it\nimport time\ntime.time() - ctx.date.timestamp()"
    )
    kernel.run("%cron wait it --runs 1")
    kernel.run(
        "late = []\n"
        "ipycron.get_task('it').on('execution:finished', "
        "lambda c: late.append(c.execution.result))\n"
        "time.sleep(3)\nsum(range(20_000_000))"
    )
    assert kernel.run("print(len(late) >= 3, max(late) < 0.25)") == "True True\n"


def test_restart_ends_every_process(fresh):
    """The new kernel is soon ready, and no old process is left."""
    pids = (
        "import psutil\nfrom ipycron.client.registry import registry\n"
        "top = psutil.Process(registry.client.supervisor_pid)\n"
        "print(*[p.pid for p in (top, *top.children(recursive=True))])"
    )
    fresh.run("%%cron * * * * * * --name it\nimport time\ntime.sleep(60)")
    fresh.run("while not ipycron.get_task('it').is_busy:\n    time.sleep(0.01)")
    alive = fresh.run(pids).split()
    assert len(alive) >= 3
    fresh.restart()
    gone = f"import psutil\nprint([p for p in {alive} if psutil.pid_exists(int(p))])"
    end = time.monotonic() + DEADLINE
    while fresh.run(gone) != "[]\n":
        assert time.monotonic() < end


def test_extension_loads_at_once(fresh):
    """It blocks the notebook for under 50 ms; the supervisor starts meanwhile."""
    fresh.restart()
    # The thread's own time: other work on this machine is not the extension's.
    said = fresh.run(
        "import time\nbegan = time.thread_time()\n"
        "%load_ext ipycron\nprint(time.thread_time() - began)"
    )
    assert float(said) < 0.05
    assert "\nit: At 00:00" in fresh.run("%%cron @yearly --name it\n1")


def test_unloading_ends_every_process(fresh):
    """It says what was ended, and the magics are gone."""
    fresh.run("%%cron @yearly --name it\n1")
    fresh.run(
        "from ipycron.client.registry import registry\nimport os\n"
        "pid = registry.client.supervisor_pid"
    )
    assert fresh.run("%reload_ext ipycron") == ""
    assert "it  " in fresh.run("%cron")
    assert fresh.run("%unload_ext ipycron") == "ended: it\n"
    assert "not found" in fresh.run("%cron")
    assert fresh.run("os.path.exists(f'/proc/{pid}')") == "False\n"


def test_errors_are_one_line(kernel):
    """A syntax error of the cell, a connection, a variable that is not there."""
    kernel.run("import sqlite3\ndb = sqlite3.connect(':memory:')")
    assert kernel.run("%%cron * * * * *\nx = 1\ndef f(:") == (
        "UsageError: line 3: invalid syntax: def f(:\n"
    )
    said = kernel.run("%%cron * * * * *\ndb.execute('select 1')")
    assert said.startswith("UsageError: 'db' (Connection) cannot be sent to a worker")
    assert said.count("\n") == 1
    assert kernel.run("%cron") == "no task is scheduled\n"


def test_task_of_a_deleted_cell_is_named_by_the_next_cell(kernel):
    """Front ends report deleted cells; once, and not for one that was restored."""
    kernel.run("%%cron @yearly --name named\n1", cell_id="a")
    kernel.run("%%cron @yearly\n1", cell_id="b")
    before = len(kernel.outputs)
    kernel.run("1;", cell_id="c", deleted=["a", "b", "z", 7])
    said = kernel.outputs[before + 1]["text/plain"].splitlines()
    assert [line.partition(" ")[2].partition(";")[0] for line in said] == [
        "continues, although its cell was deleted",
    ] * 2
    assert said[0].endswith("; `%cron destroy named` ends it")
    assert len(kernel.outputs) == before + 2
    kernel.run("%cron", cell_id="c", deleted=["a", "b"])
    table = kernel.outputs[-1]["text/plain"]
    assert table.count(" (its cell was deleted)") == 2
    assert len(kernel.outputs) == before + 3
    kernel.run("%%cron @yearly --name named\n1", cell_id="a")
    kernel.run("%cron")
    assert kernel.outputs[-1]["text/plain"].count("its cell was deleted") == 1


def test_inline_cell_runs_between_cells(kernel):
    """On the main thread, with the notebook's variables and its own output."""
    kernel.run("import threading\nseen = []")
    kernel.run(
        "%%cron * * * * * * --inline --name it\n"
        "print('run', len(seen))\n"
        "seen.append(threading.current_thread() is threading.main_thread())\nlen(seen)"
    )
    kernel.strays.clear()
    kernel.run("before = len(seen)\ntime.sleep(2.5)\nduring = seen[before:]")
    # The first one may have come before the cell that sleeps.
    heard = [*kernel.strays, *kernel.drain(2)]
    assert not [m for m in heard if m["msg_type"] in ("stream", "display_data")]
    ran = "print(len(ipycron.get_task('it').history) > 0)"
    eventually(lambda: kernel.run(ran) == "True\n", "a run between two cells")
    assert kernel.run("print(during, all(seen), len(seen) > 0)") == "[] True True\n"
    kernel.run("run = next(iter(ipycron.get_task('it').history))")
    assert kernel.run("print(run.output.stdout)") == "run 0\n\n"
    assert kernel.run("print(run.output.displays[0].data)") == "{'text/plain': '1'}\n"


INLINE_FIGURES = """%%cron @yearly --inline --name it
import asyncio, matplotlib.pyplot as plt
plt.plot([1, 2]); begun = True
await asyncio.sleep(0.5)
plt.title("late"); print("end")
"""


def test_inline_cell_keeps_its_figures_while_other_cells_end(kernel):
    """Other cells neither show nor close its unfinished figures."""
    kernel.run("import asyncio\nbegun = False")
    kernel.run(INLINE_FIGURES)
    said = kernel.run("%cron run it")
    assert said == "it: runs now\n"
    before = len(kernel.outputs)
    kernel.run("while not begun: await asyncio.sleep(0.01)\nimport matplotlib.pyplot")
    kernel.run("plt.plot([3, 4]); print(plt.get_fignums())")
    kernel.run("while ipycron.get_task('it').is_busy: await asyncio.sleep(0.01)")
    assert len([o for o in kernel.outputs[before:] if "image/png" in o]) == 1
    displays = "ipycron.get_task('it').last_run.output.displays"
    assert kernel.run(f"print(['image/png' in d.data for d in {displays}])") == (
        "[True]\n"
    )


def test_inline_cell_renews_a_display_of_another_cell_where_it_stands(kernel):
    """The notebook's own handle; the run's own displays belong to the run."""
    kernel.run("handle = display('old', display_id='shown')")
    kernel.run(
        "%%cron @yearly --inline --name it\n"
        "handle.update('new'); mine = display('a', display_id=True); mine.update('b')"
    )
    kernel.run("await ipycron.get_task('it').execute()")
    assert kernel.displays["shown"]["text/plain"] == "'new'"
    displays = "ipycron.get_task('it').last_run.output.displays"
    assert kernel.run(f"print([d.kind for d in {displays}])") == (
        "['display', 'update']\n"
    )


def test_inline_cell_awaits_on_the_loop_of_the_kernel(kernel):
    """It shares the loop with what the notebook awaits."""
    kernel.run("import asyncio\nhere = asyncio.get_running_loop()")
    kernel.run(
        "%%cron @yearly --inline --name it\nawait asyncio.sleep(0.01)\n"
        "asyncio.get_running_loop() is here"
    )
    assert kernel.run("await ipycron.get_task('it').execute()") == "True\n"


def test_inline_cell_is_ended_by_an_interrupt(kernel):
    """Between cells a kernel ignores interrupts; a run does not."""
    kernel.run("%%cron @yearly --inline --name it\nprint('begun', flush=True)\n" + BUSY)
    kernel.run("%cron run it")
    kernel.find_display(lambda data: "\n  begun" in data.get("text/plain", ""))
    kernel.interrupt()
    said = kernel.run(
        "while ipycron.get_task('it').last_run is None:\n    time.sleep(0.01)\n"
        "ipycron.get_task('it').last_run.summary"
    )
    assert said == "'KeyboardInterrupt'\n"


def test_wait_is_refused_for_what_runs_on_the_waiting_thread(kernel):
    """The run would wait for the end of the wait."""
    kernel.run("%%cron * * * * * * --inline --name it\n1")
    assert kernel.run("%cron wait it --runs 1") == (
        "UsageError: 'it' runs in the notebook itself, between two cells: use "
        "`await ipycron.get_task('it').execute()`, or leave --inline out\n"
    )


def test_kernel_completes_and_inspects(kernel):
    """As a front end requests it from the kernel."""
    kernel.run("%%cron @yearly --name report\n1")
    assert "--timezone" in kernel.complete("%%cron * * * * * --time")
    assert kernel.complete("%cron stop rep") == ["report"]
    assert "Run a cell or a file on a schedule" in kernel.inspect("%%cron")


@pytest.mark.parametrize("source", ["ipycron.get_task('it')", "ipycron.panel()"])
def test_view_is_an_output_and_its_copy_the_next(kernel, source):
    """If a widget is gone, its output shows nothing: the copy has its own."""
    kernel.run("%%cron @yearly --name it --quiet\n1")
    before = len(kernel.outputs)
    kernel.run(source)
    live, copy = kernel.outputs[before:]
    assert set(live) == {"text/plain", "application/vnd.jupyter.widget-view+json"}
    assert live["text/plain"] == ""
    assert set(copy) == {"text/plain", "text/html"}
    assert "it" in copy["text/plain"]
    assert "ipycron-static" in copy["text/html"]
