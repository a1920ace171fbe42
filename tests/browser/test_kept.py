"""Kept tasks on the page: beside a kernel's own, in several notebooks, and lost."""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import nbformat
import psutil
import pytest
from kept_service import ServiceOfTest
from playwright.sync_api import expect
from polling import eventually

SCREENSHOTS = Path(__file__).parent / "screenshots"
LONG = pytest.mark.timeout(240, method="thread")
"""For several kernels and a service."""
CELL = """%%cron * * * * * * --name tick --keep --start-timeout 60
print("rate", rate)
rate * 2
"""
TASKS = """
import time, ipycron
from ipycron import Retry
ipycron.set_pool("gpu", 1)
def tick():
    print("tick")
def fail():
    print("before it fails")
    raise ValueError("no <b>luck</b>")
def work():
    for step in range(1200):
        print("step", step)
        time.sleep(0.5)
def fetch(ctx):
    print("asking, attempt", ctx.attempt)
    raise ConnectionError(f"no <b>answer</b> to attempt {ctx.attempt}")
def make(name, when, job, count=0, *, keep=True, **options):
    given = dict(background=True, keep=keep, start_timeout=60, **options)
    task = ipycron.schedule(when, job, name=name, **given)
    return [task.execute() for _ in range(count)]
calls = make("mirror", "30 4 * * *", tick, 1)
calls[0].result(60)
make("index", "30 3 * * *", work, 1)
make("report", "0 6 * * mon-fri", fail, 1)
make("rotate keys", "0 5 * * *", tick)
pause = dict(until="23:59", note="the vault is being moved")
ipycron.get_task("rotate keys").pause(**pause).result(60)
make("prices", "0 1 * * *", fetch, 1, retry=Retry(2, delay=900))
make("train small", "15 2 * * *", work, 1, pool="gpu")
make("train large", "45 2 * * *", work, 1, pool="gpu")
make("ticking", "* * * * * *", tick, keep=False)
make("own report", "0 7 * * *", fail, 1, keep=False)
ipycron.create_task("@weekly", tick, background=True, name="stocktaking");
"""
STATES = {
    "mirror": "idle, kept",
    "index": "running, kept",
    "report": "failing, kept",
    "rotate keys": "paused, kept",
    "prices": "retrying, kept",
    "train small": "running, kept",
    "train large": "queued, kept",
    "own report": "failing",
    "stocktaking": "stopped",
}


class Tab:
    """One notebook of a page that shows several side by side, with its own kernel.

    A page takes three seconds of the processor until it has loaded JupyterLab.
    """

    def __init__(self, whole, *, is_first: bool) -> None:
        self.whole = whole
        self.page = whole.page
        path = f"{secrets.token_hex(4)}.ipynb"
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("")])
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(book, whole.server.root / path)
        self.id = self.page.evaluate(
            """async ([path, isFirst]) => {
              const { commands, shell } = window.jupyterapp;
              const others = isFirst ? [...shell.widgets("main")] : [];
              const options = { mode: isFirst ? "tab-after" : "split-right" };
              const open = { path, options };
              const opened = await commands.execute("docmanager:open", open);
              for (const other of others) other.dispose();
              return opened.id;
            }""",
            [path, is_first],
        )
        self.root = self.page.locator(f'[id="{self.id}"]')
        self._activate()
        whole.wait_for_kernel()

    def _activate(self) -> None:
        """Make it the one that commands are for, as a click into it does."""
        self.page.evaluate("(id) => window.jupyterapp.shell.activateById(id)", self.id)
        self.page.wait_for_function(
            "(id) => window.jupyterapp.shell.currentWidget?.id === id", arg=self.id
        )

    def run(self, source: str, *, is_awaited: bool = True) -> None:
        """Add a cell at the end, run it, and wait until it has finished."""
        self._activate()
        self.whole.run(source, is_awaited=is_awaited)

    def load(self, env: dict[str, str]) -> None:
        """Have the kernel load ipycron, with a service of its own."""
        self.run(f"import os\nos.environ.update({env!r})")
        self.run("%load_ext ipycron")

    def kill_kernel(self) -> None:
        """Kill the kernel, and wait for the one that Jupyter starts in its place."""
        kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
        self.run(kill, is_awaited=False)
        dialog = self.page.locator(".jp-Dialog")
        expect(dialog).to_contain_text("Kernel Restarting")
        dialog.get_by_role("button", name="Ok").click()
        self.whole.wait_for_kernel()

    def shut_down(self) -> None:
        """Shut the kernel down."""
        self._activate()
        self.whole.shut_down_kernel()


def list_mentions():
    """Yield what the processes have in their environment, and their open files."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            yield from process.environ().values()
            yield from (file.path for file in process.open_files())


@pytest.fixture
def service():
    """The service of this test; nothing of it is left."""
    folder = Path(tempfile.mkdtemp(prefix="ipycron-kept-"))
    running = ServiceOfTest(folder / "service", folder / "history.sqlite")
    running.start()
    yield running
    has_ended = running.end()

    def remove():
        """Remove it until nobody writes: a supervisor that ends makes it anew."""
        shutil.rmtree(folder, ignore_errors=True)
        return not any(str(folder) in words for words in list_mentions())

    eventually(remove, "no process that uses the folder", 60)
    shutil.rmtree(folder, ignore_errors=True)
    assert has_ended, "the service had to be killed"


@pytest.fixture
def open_loaded(service, lab_page):  # the kernels end first
    """Open notebooks that use the service of this test, with ipycron loaded."""
    tabs = []

    def open_():
        tabs.append(Tab(lab_page, is_first=not tabs))
        tabs[-1].load(service.env)
        return tabs[-1]

    lab_page.errors.clear()
    yield open_
    for tab in tabs:
        tab.shut_down()
    assert lab_page.errors == []


def get_row(notebook, name):
    """Return a task's row in the panel."""
    return notebook.root.locator(".icr-panel .icr-row").filter(
        has=notebook.page.locator(".icr-name", has_text=re.compile(f"^{name}$"))
    )


def expect_state(notebook, name, state):
    """Wait until a row shows a status."""
    expect(get_row(notebook, name).locator(".icr-status")).to_have_text(state)


def get_button(notebook, name, verb):
    """Return a button of a task's row, named as readers of the screen name it."""
    label = f"{verb}: {name}"
    return get_row(notebook, name).get_by_role("button", name=label, exact=True)


def read_last(notebook):
    """Return the last output of a notebook."""
    return notebook.root.locator(".jp-OutputArea-output").last


@LONG
def test_kept_cell_goes_on_when_its_kernel_is_killed(open_loaded, service):
    """The next kernel says so when it loads ipycron, shows it live, and ends it."""
    notebook = open_loaded()
    notebook.run("rate = 21")
    notebook.run(CELL)
    card = notebook.root.locator(".icr-card").last
    expect(card.locator(".icr-status")).to_have_text(re.compile("(idle|running), kept"))
    note = card.locator(".icr-facts > .icr-muted")
    expect(note).to_contain_text(f"kept by the service, process {service.pid}")
    notebook.page.set_viewport_size({"width": 620, "height": 1000})
    is_whole = """({ scrollWidth, clientWidth, scrollHeight, clientHeight }) =>
      scrollWidth <= clientWidth && scrollHeight <= clientHeight"""
    eventually(lambda: note.bounding_box()["width"] < 400, "a narrow card")
    expect(note).to_have_text(re.compile("%cron destroy tick$"))
    assert note.evaluate(is_whole)
    notebook.page.set_viewport_size({"width": 1400, "height": 1000})
    notebook.kill_kernel()

    notebook.load(service.env)
    expect(read_last(notebook)).to_have_text("ipycron keeps 1 task: tick")
    notebook.run("import ipycron\nipycron.panel()")
    counts = get_row(notebook, "tick").locator(".icr-counts")
    expect(counts).to_have_text(re.compile(r"^\d+ ok$"))
    before = counts.inner_text()
    expect(counts).not_to_have_text(before)
    notebook.run("ipycron.get_task('tick')")
    expect(card.locator(".icr-output")).to_contain_text("rate 21")
    notebook.run("%cron destroy tick")
    expect(get_row(notebook, "tick")).to_have_count(0)
    # A task that has ended is kept no more.
    expect(card.locator(".icr-status")).to_have_text("destroyed")
    assert service.attach().tasks == {}
    assert not list(service.places.payloads.iterdir())


@LONG
def test_every_panel_follows_what_the_others_do(open_loaded, service):
    """By buttons and keys: what one notebook does, the other shows."""
    first, second = open_loaded(), open_loaded()
    first.run("import ipycron\nipycron.panel()")
    second.run("import ipycron\nipycron.panel()")
    first.run("%%cron 30 4 * * * --name mirror --keep --start-timeout 60 --quiet\n1")
    expect_state(second, "mirror", "idle, kept")

    get_button(second, "mirror", "Pause").focus()
    second.page.keyboard.press("Enter")
    expect_state(first, "mirror", "paused, kept")
    get_button(first, "mirror", "Resume").click()
    expect_state(second, "mirror", "idle, kept")
    get_button(second, "mirror", "Run now").click()
    for notebook in (first, second):
        counts = get_row(notebook, "mirror").locator(".icr-counts")
        expect(counts).to_have_text("1 ok")
    get_button(first, "mirror", "Stop").click()
    expect_state(second, "mirror", "stopped, kept")
    get_button(second, "mirror", "Start").click()
    expect_state(first, "mirror", "idle, kept")
    get_button(first, "mirror", "Destroy").click()
    get_row(first, "mirror").locator(".icr-ask").get_by_role(
        "button", name="Destroy"
    ).click()
    expect(get_row(second, "mirror")).to_have_count(0)
    assert service.attach().tasks == {}


@LONG
def test_row_says_that_the_service_is_stopped_and_comes_back(open_loaded, service):
    """With what to do about it; a kernel's own tasks do not mind."""
    notebook = open_loaded()
    notebook.run(
        "import ipycron\n"
        "for keep in (True, False):\n"
        "    ipycron.schedule('* * * * * *', int, name=f'{keep}', keep=keep,\n"
        "        background=True, start_timeout=60)\n"
        "ipycron.panel()"
    )
    counts = get_row(notebook, "True").locator(".icr-counts")
    expect(counts).to_have_text(re.compile(r"\d+ ok"))
    assert service.end()
    expect_state(notebook, "True", "failing, kept")
    said = "the service does not run, so its tasks do not: `ipycron service start`"
    expect(get_row(notebook, "True")).to_contain_text(said)
    get_button(notebook, "True", "Start").click()
    notice = notebook.root.locator(".icr-panel .icr-notices .icr-notice")
    expect(notice).to_contain_text("it does not run")
    own = get_row(notebook, "False").locator(".icr-counts")
    before = own.inner_text()
    expect(own).not_to_have_text(before)

    service.start()
    expect_state(notebook, "True", re.compile("(idle|running), kept"))
    expect(get_row(notebook, "True")).not_to_contain_text("ipycron service start")
    before = counts.inner_text()
    expect(counts).not_to_have_text(before)


@LONG
def test_kept_tasks_can_be_read_by_everybody(open_loaded):
    """Every state beside a kernel's own; axe finds nothing. Pictures are kept."""
    notebook = open_loaded()
    notebook.page.set_viewport_size({"width": 1400, "height": 1800})
    notebook.run(TASKS)
    notebook.run("display(ipycron.get_task('report'), ipycron.panel())")
    for name, state in STATES.items():
        expect_state(notebook, name, state)
    panel = notebook.root.locator(".icr-panel")
    expect(panel.locator(".icr-top")).to_contain_text("10 tasks")
    card = notebook.root.locator(".icr-card")
    expect(card.locator(".icr-trace:visible")).to_contain_text("no <b>luck</b>")
    panel.get_by_role("searchbox").fill("kept")
    expect(panel.locator(".icr-row")).to_have_count(7)
    panel.get_by_role("searchbox").fill("")
    clipped = panel.locator(".icr-row .icr-status").evaluate_all(
        "marks => marks.filter((mark) => [mark, mark.lastChild].some("
        "(part) => part.scrollWidth > part.clientWidth)).map((mark) => mark.innerText)"
    )
    assert clipped == []
    panel.get_by_role("searchbox").blur()
    SCREENSHOTS.mkdir(exist_ok=True)
    faults = []
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        notebook.whole.set_theme(theme)
        notebook.page.wait_for_timeout(500)
        shade = theme.split()[1].lower()
        for name, view in (("kept-card", card), ("kept", panel)):
            (SCREENSHOTS / f"{name}-{shade}.png").write_bytes(view.screenshot())
        faults += notebook.whole.find_faults(".icr-card", ".icr-panel")
    notebook.whole.set_theme("JupyterLab Light")
    assert faults == []
    notebook.run("[task.destroy(force=True) for task in ipycron.get_tasks().values()]")
    eventually(lambda: panel.locator(".icr-row").count() == 0, "an empty panel", 60)
