"""Kept cells in real kernels: declared in one, killed, found in another."""

import contextlib
import random
import re
from pathlib import Path

import pytest
from kept_service import ServiceOfTest
from kernel import Kernel
from lengths import choose
from polling import eventually, pause

import ipycron
from ipycron.api.kept import ServiceAccess
from ipycron.client.registry import registry
from ipycron.errors import TaskDestroyed

SECONDS = 60.0
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
LOAD = "%load_ext ipycron"
CELL = """%%cron * * * * * * --name tick --keep --start-timeout 60
print("rate", rate)
rate * 2
"""

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(300)]


@pytest.fixture
def service(tmp_path, monkeypatch):
    """The service of this test; ended with all that it has started."""
    service = ServiceOfTest(tmp_path / "s", tmp_path / "history.sqlite")
    for name, value in service.env.items():
        monkeypatch.setenv(name, value)
    registry._singles.pop(ServiceAccess, None)
    service.start()
    yield service
    ipycron.shutdown(0)
    registry._singles.pop(ServiceAccess, None)
    assert service.end()


@pytest.fixture
def make_kernel(tmp_path, service):
    """Start kernels that end with the test."""
    kernels = []

    def make():
        own = {"IPYTHONDIR": str(tmp_path / "ipython")}
        kernels.append(Kernel(tmp_path, **own))
        return kernels[-1]

    yield make
    for kernel in kernels:
        kernel.close()


def read_missed(name):
    """Return the slots between the first and the last run that have no row."""
    rows = [run for run in ipycron.history(name, limit=10_000) if run.slot]
    slots = sorted(int(run.slot.timestamp()) for run in rows)
    assert len(slots) == len(set(slots)), "a slot ran twice"
    return sorted(set(range(slots[0], slots[-1] + 1)) - set(slots))


def test_kept_cell_outlives_a_killed_kernel(service, make_kernel):
    """K1, K4: every slot has a row; another kernel shows and ends the task."""
    first = make_kernel()
    assert first.run(LOAD) == ""
    first.run("rate = 21")
    answer = first.run(CELL)
    assert f"kept by the service, process {service.pid}" in answer
    assert "until %cron destroy tick" in answer
    first.kill()

    task = ipycron.get_task("tick")
    before = task.history.total
    eventually(lambda: task.history.total > before + 2, "runs without a kernel")
    ipycron.shutdown(0)
    registry._singles.pop(ServiceAccess, None)

    second = make_kernel()
    assert second.run(LOAD) == "ipycron keeps 1 task: tick\n"
    assert re.search(r"tick +(idle|running), kept", second.run("%cron list"))
    assert "rate 21" in second.run("%cron logs tick")
    assert "42" in second.run("import ipycron; ipycron.get_task('tick').last_run")
    shown = second.run("ipycron.get_task('tick')")
    assert re.search(r"tick +(idle|running), kept", shown)
    second.run("%cron pause tick --note lunch")
    assert "paused (lunch), kept" in second.run("%cron list")
    second.run("%cron resume tick")
    assert re.search("tick: .* finished", second.run("%cron run tick --wait"))
    answer = second.run("%cron destroy --all")
    assert answer == "not included, as they are kept: tick. Name them to destroy them\n"
    second.run("%cron destroy tick")
    assert "no task" in second.run("%cron list")
    assert read_missed("tick") == []
    third = make_kernel()
    assert third.run(LOAD) == ""


def test_large_display_reaches_every_kernel(service, make_kernel):
    """Such as a plot: it is more than a frame can hold."""
    first, second = make_kernel(), make_kernel()
    first.run(LOAD)
    first.run(
        "%%cron 0 0 1 1 * --name plot --keep --start-timeout 60\n"
        "from IPython.display import HTML, display\n"
        "display(HTML('large' * 40_000))\n"
        "'large' * 50_000"
    )
    second.run(LOAD)
    second.run("import ipycron; task = ipycron.get_task('plot')")
    assert "250000" in first.run(
        "import ipycron; len(ipycron.get_task('plot').execute().result(60))"
    )
    measure = "len(task.last_run.output.displays[0].data['text/html'])"
    eventually(lambda: "200000" in second.run(measure), "the display")


def run_kept():
    """Return what the one kept task returns; None if it has just been replaced."""
    (task,) = ipycron.get_tasks().values()
    with contextlib.suppress(TaskDestroyed):
        return task.execute().result(SECONDS)
    return None


@pytest.mark.usefixtures("service")
def test_kernel_that_restarts_while_it_declares_leaves_one_whole_task(make_kernel):
    """K6: the old one or the new one; another kernel finds it, and it runs."""
    draw = random.Random(13)
    kernel = make_kernel()
    kernel.run(LOAD)
    kernel.run("rate = 1")
    kernel.run(CELL)
    for rate in range(2, choose(4, 30)):
        kernel.run(f"rate = {rate}")
        kernel.begin(CELL)
        pause(draw.uniform(0, 0.5))
        kernel.restart(now=True)
        kernel.run(LOAD)
        assert eventually(run_kept, "a run", SECONDS) in range(2, 2 * rate + 2, 2)
    kernel.run("%cron destroy tick")
    eventually(lambda: not ipycron.get_tasks(), "it is gone", SECONDS)


def test_notebook_does_what_it_says_when_executed(service, execute):
    """Kept, seen by other processes, found again, ended."""
    done = execute(NOTEBOOKS / "kept.ipynb")
    answer = done.text(done.find("%%cron"))
    assert "captured: rates (dict)" in answer
    assert f"kept by the service, process {service.pid}: runs without" in answer
    assert re.search(
        "rates: ([2-9]|[1-9][0-9]+) run", done.text(done.find("%cron wait"))
    )
    assert "True * * * * * * 0.94" in done.text(done.find("program = "))
    assert re.search(
        r"rates +(idle|running) ", done.text(done.find("!{sys.executable} -m"))
    )
    assert done.text(done.find("ipycron.shutdown()")) == "True True\n"
    assert done.text(done.find("def nightly")) == "'done'"
    assert "until the bank opens" in done.text(done.find("%cron pause"))
    assert "finished" in done.text(done.find("%cron history"))
    refused = done.text(done.find("for wrong in")).splitlines()
    assert refused[0].startswith("keep: got True, expected False for a function")
    assert refused[1].startswith("name: got None, expected a name, with keep=True")
    assert done.text(done.find("%cron destroy")).endswith("no task is scheduled\n")


def test_failing_kept_task_is_named_when_the_extension_is_loaded(service, make_kernel):
    """By the first line of its error."""
    first = make_kernel()
    first.run(LOAD)
    first.run("%%cron @yearly --name bad --keep --start-timeout 60 --quiet\n1 / 0")
    first.run("%%cron @yearly --name good --keep --start-timeout 60 --quiet\n1")
    first.run("%cron run bad --wait")
    second = make_kernel()
    loaded = second.run(LOAD)
    assert loaded.startswith("ipycron keeps 2 tasks: bad, good; failing: bad (ZeroDiv")
    assert loaded.count("\n") == 1
    # A cell that runs again replaces the task; what is unloaded goes on.
    second.run("%%cron @yearly --name bad --keep --start-timeout 60\n1")
    assert "kept, still scheduled by the service: " in second.run("%unload_ext ipycron")
    assert ipycron.get_task("bad").execute().result(SECONDS) == 1


def test_cell_that_cannot_be_kept_says_why(service, make_kernel):
    """What it needs is not there, and nothing is left."""
    kernel = make_kernel()
    kernel.run(LOAD)
    kernel.run("import threading; lock = threading.Lock()")
    answer = kernel.run("%%cron @yearly --name a --keep\nlock")
    assert "UsageError" in answer
    assert "lock" in answer
    assert "no task" in kernel.run("%cron list")
