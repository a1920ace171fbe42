"""One Jupyter server and one Chromium for all browser tests."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections import deque
from pathlib import Path

import nbformat
import playwright.sync_api
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright
from ports import find_free_port

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PICTURES = Path(__file__).parents[2] / "build" / "screenshots"
"""Of pages whose test has failed."""
START_SECONDS = 120
STEP_SECONDS = 60
SIZE = {"width": 1400, "height": 1000}
"""Of a page, in pixels."""
MANY_TEXTS = 40
"""Fewer than a panel has; more than are seen of one that is scrolled away."""
WARM = """%load_ext ipycron
import ipycron
ipycron.schedule("0 0 1 1 *", print, background=True).execute().result(20)
[task.destroy().result(10) for task in ipycron.get_tasks().values()];"""
# What a page restores is every widget there is. JupyterLab gives a view two seconds,
# and one that misses them by less than a tenth is lost although the kernel has it.
END = """import ipywidgets
[task.destroy(force=True).result(10) for task in ipycron.get_tasks().values()]
ipywidgets.Widget.close_all()"""
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "apputils-extension/themes": {"theme": "JupyterLab Light"},
    "docmanager-extension/plugin": {"autosave": False},
}


# Whether JupyterLab should be built again is a question of two processes for each page.
PAGE_CONFIG = {"buildCheck": False}


# Playwright waits in a greenlet, where the exception of a signal is lost: a page that
# waits for a kernel that hangs would hold up everything. A thread ends the process.
IN_TIME = pytest.mark.timeout(90, method="thread")


def pytest_collection_modifyitems(items):
    """End what hangs. Without a browser, skip on a developer's machine, fail in CI."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(IN_TIME)
    if CHROMIUM is not None:
        return
    for item in items:
        if Path(__file__).parent in item.path.parents:
            if os.environ.get("CI"):
                item.add_marker(pytest.mark.usefixtures("no_chromium"))
            else:
                item.add_marker(pytest.mark.skip(reason="Chromium is not installed"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Add a screenshot and the logs of page and kernel to a failure."""
    report = yield
    if report.failed:
        pages = {id(o): o for o in item.funcargs.values() if isinstance(o, Notebook)}
        for opened in pages.values():
            opened.has_failed = True
            report.sections += [
                ("screenshot", opened.take_picture(f"{item.name}-{report.when}")),
                ("page", "\n".join(opened.console)),
                ("server", opened.server.read_log()),
            ]
    return report


PAGES = pytest.StashKey["dict[str, Notebook]"]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Open a shared page anew after a failure: no test gets what another one left.

    Before the fixtures: the leak guard is to know the new kernel.
    """
    for page in item.config.stash.get(PAGES, {}).values():
        if page.has_failed:
            page.open()
            page.run(WARM)
            page.has_failed = False


@pytest.fixture
def no_chromium():
    """Fail: CI must have a browser."""
    pytest.fail("Chromium is not installed; .ci/run installs it")


class Server:
    """JupyterLab and Notebook 7, one process, with their own configuration."""

    def __init__(self, home: Path) -> None:
        self.root = home / "notebooks"
        self.root.mkdir()
        self._home = home
        self.token = secrets.token_hex()
        self.port = find_free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.write_settings()
        self._log = (home / "server.log").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *self._arguments()],
            env=self._environment(),
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _arguments(self) -> list[str]:
        return [
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            f"--port={self.port}",
            "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={self.token}",
            f"--ServerApp.root_dir={self.root}",
            "--LabApp.expose_app_in_browser=True",
            "--JupyterNotebookApp.expose_app_in_browser=True",
        ]

    def _environment(self) -> dict[str, str]:
        own = {
            name: str(self._home / name.lower())
            for name in (
                "HOME",
                "JUPYTER_CONFIG_DIR",
                "JUPYTER_DATA_DIR",
                "JUPYTER_RUNTIME_DIR",
                "IPYTHONDIR",
                "JUPYTERLAB_SETTINGS_DIR",
                "JUPYTERLAB_WORKSPACES_DIR",
            )
        }
        for folder in own.values():
            Path(folder).mkdir(exist_ok=True)
        config = Path(own["JUPYTER_CONFIG_DIR"]) / "labconfig" / "page_config.json"
        config.parent.mkdir(exist_ok=True)
        config.write_text(json.dumps(PAGE_CONFIG))
        # Kernels must be the tests' own interpreter's, whatever is installed.
        return {**os.environ, **own, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}

    def write_settings(self) -> None:
        """Write the settings of a new page, in place of what a test has changed."""
        folder = self._home / "jupyterlab_settings_dir"
        shutil.rmtree(folder, ignore_errors=True)
        for name, settings in SETTINGS.items():
            extension, plugin = name.split("/")
            path = folder / "@jupyterlab" / extension / f"{plugin}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(settings))

    def wait(self) -> None:
        """Return once it answers."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/api", timeout=2).close()
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self.close()
                    pytest.fail(f"the Jupyter server did not start:\n{self.read_log()}")
                threading.Event().wait(0.1)
            else:
                return

    def end_kernels(self, name: str) -> None:
        """End what kernels a notebook has, whatever its page is doing."""
        for session in self._ask("GET", "sessions"):
            if session["path"] == name:
                self._ask("DELETE", f"sessions/{session['id']}")

    def _ask(self, method: str, path: str) -> list:
        """Return the server's answer; empty if it has no content."""
        headers = {"Authorization": f"token {self.token}"}
        url = f"{self.url}/api/{path}"
        request = urllib.request.Request(url, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=STEP_SECONDS) as answer:
            return json.loads(answer.read() or "[]")

    def read_log(self) -> str:
        """Return the end of the server's and its kernels' output."""
        return (self._home / "server.log").read_text()[-5000:]

    def close(self) -> None:
        """End the server and its kernels."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._log.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A running server."""
    running = Server(tmp_path_factory.mktemp("jupyter"))
    running.wait()
    yield running
    running.close()


@pytest.fixture(scope="session")
def browser():
    """A running Chromium."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        expect.set_options(timeout=STEP_SECONDS * 1000)
        yield chromium
        chromium.close()


class Notebook:
    """One notebook in one page, or one after the other; its kernel ends with it."""

    def __init__(self, server: Server, browser, app: str) -> None:
        self.server = server
        self.app = app
        self.name = ""
        self.has_failed = False
        self._browser = browser
        self.context = None
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.console: deque[str] = deque(maxlen=30)

    def _open_page(self) -> None:
        """Open an empty page in place of the one that there is."""
        self.close()
        self.server.write_settings()
        self._forget()
        self.context = self._browser.new_context(viewport=SIZE)
        self.page = self.context.new_page()
        self.page.set_default_timeout(STEP_SECONDS * 1000)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", self._take_error)
        self.page.on("console", lambda message: self.console.append(message.text))

    def _forget(self) -> None:
        """Forget what an earlier test has had the page do."""
        for said in (self.requests, self.errors, self.console):
            said.clear()

    def _write_file(self) -> None:
        """Write a notebook with an empty cell."""
        self.name = f"{secrets.token_hex(4)}.ipynb"
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("")])
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(book, self.server.root / self.name)

    def _take_error(self, error) -> None:
        """Record an error of our script: anywidget loads it from a blob."""
        if "blob:" in (error.stack or ""):
            self.errors.append(error.stack)

    def open(self) -> None:
        """Open a new notebook in a new page and wait for its kernel."""
        self._open_page()
        self._write_file()
        self._load()

    def _load(self) -> None:
        """Load the page with the notebook and wait for its kernel."""
        place = f"notebooks/{self.name}" if self.app == "notebook" else self._lab_place
        self.page.goto(f"{self.server.url}/{place}?token={self.server.token}")
        self.wait_for_kernel()

    @property
    def _lab_place(self) -> str:
        return f"lab/workspaces/{self.name[:8]}/tree/{self.name}"

    def wait_for_kernel(self) -> None:
        """Wait until the kernel is idle."""
        self.page.wait_for_function(
            """() => {
              const widget = window.jupyterapp?.shell?.currentWidget;
              const kernel = widget?.sessionContext?.session?.kernel;
              return kernel?.status === "idle" && widget.content?.widgets?.length > 0;
            }"""
        )

    def run(self, source: str, *, is_awaited: bool = True) -> None:
        """Add a cell at the end, run it, and wait until it has finished."""
        self.page.evaluate(
            """async ([source, isAwaited]) => {
              const app = window.jupyterapp;
              const { content } = app.shell.currentWidget;
              const { sharedModel } = content.model;
              const end = sharedModel.cells.length;
              sharedModel.insertCell(end, { cell_type: "code", source });
              content.activeCellIndex = end;
              const run = app.commands.execute("notebook:run-cell");
              if (isAwaited) await run;
            }""",
            [source, is_awaited],
        )

    def run_again(self, source: str) -> None:
        """Change the last cell, run it, and wait until it has finished."""
        self.page.evaluate(
            """async (source) => {
              const app = window.jupyterapp;
              const { content } = app.shell.currentWidget;
              content.activeCellIndex = content.widgets.length - 1;
              content.activeCell.model.sharedModel.setSource(source);
              await app.commands.execute("notebook:run-cell");
            }""",
            source,
        )

    def delete_cell(self) -> None:
        """Delete the last cell, like a user."""
        self.page.evaluate(
            """async () => {
              const app = window.jupyterapp;
              const { content } = app.shell.currentWidget;
              content.activeCellIndex = content.widgets.length - 1;
              await app.commands.execute("notebook:delete-cell");
            }"""
        )

    def count_cells(self) -> int:
        """Return the number of cells in the notebook."""
        return self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.content.widgets.length"
        )

    def clear(self) -> None:
        """End all tasks and delete all cells."""
        self.run(END)
        self.page.evaluate(
            """() => {
              const { content } = window.jupyterapp.shell.currentWidget;
              const { sharedModel } = content.model;
              sharedModel.deleteCellRange(1, sharedModel.cells.length);
            }"""
        )

    @property
    def outside_requests(self) -> list[str]:
        """Requests of the page to other machines."""
        inside = (
            self.server.url,
            "data:",
            "blob:",
            self.server.url.replace("http", "ws"),
        )
        return [url for url in self.requests if not url.startswith(inside)]

    def restart(self) -> None:
        """Restart the kernel, without confirmation."""
        self.page.evaluate(
            """async () => {
              const context = window.jupyterapp.shell.currentWidget.sessionContext;
              await context.session.kernel.restart();
            }"""
        )

    def delete_cell_with(self, text: str) -> None:
        """Delete the first cell that contains a text."""
        self.page.evaluate(
            """(text) => {
              const { content } = window.jupyterapp.shell.currentWidget;
              const { sharedModel } = content.model;
              const has = (cell) => cell.getSource().includes(text);
              sharedModel.deleteCell(sharedModel.cells.findIndex(has));
            }""",
            text,
        )

    def start_kernel(self) -> None:
        """Start a kernel if there is none."""
        self.page.evaluate(
            """async () => {
              const context = window.jupyterapp.shell.currentWidget.sessionContext;
              await context.changeKernel({ name: "python3" });
            }"""
        )

    def shut_down_kernel(self) -> None:
        """End the kernel."""
        self.page.evaluate(
            """async () => {
              const context = window.jupyterapp.shell.currentWidget.sessionContext;
              await context.shutdown();
            }"""
        )

    def open_again(self) -> None:
        """Open the file in a page without state."""
        self.page.goto("about:blank")
        self._load()

    def wait_for_text(self, locator, text: str) -> None:
        """Wait until hidden elements contain a text."""
        expect(locator).to_have_text(re.compile(re.escape(text)))

    def command(self, name: str, **arguments) -> None:
        """Execute a command of the front end."""
        self.page.evaluate(
            "([name, args]) => window.jupyterapp.commands.execute(name, args)",
            [name, arguments],
        )

    def save(self) -> nbformat.NotebookNode:
        """Save the notebook; return the file's contents."""
        self.command("docmanager:save")
        return nbformat.read(self.server.root / self.name, 4)

    def reload(self) -> None:
        """Save, and reload the page."""
        self.save()
        self.page.reload()
        self.wait_for_kernel()

    def set_theme(self, name: str) -> None:
        """Change the theme."""
        self.command("apputils:change-theme", theme=name)
        is_light = "true" if "Light" in name else "false"
        self.page.wait_for_selector(
            f'body[data-jp-theme-light="{is_light}"]', state="attached"
        )

    def find_faults(self, *selectors: str) -> list[str]:
        """Return axe's findings in views; empty if there are none.

        Fails where it has not looked at the contrast of their texts. JupyterLab's body
        has no height and hides what overflows it, so for axe nothing was visible; nor
        is what is scrolled away.
        """
        size = self.page.viewport_size
        self.page.set_viewport_size({**size, "height": 4000})
        style = self.page.add_style_tag(
            content="body { overflow: visible !important }"
            ".icr-trace, .icr-output, .icr-events { max-height: none !important }"
        )
        for _ in range(30):
            # JupyterLab takes cells away and puts them back when the page grows.
            self.page.locator(selectors[-1]).last.scroll_into_view_if_needed()
            found = self._run_axe(selectors, {"resultTypes": ["violations", "passes"]})
            if found["texts"] > MANY_TEXTS:
                break
            self.page.wait_for_timeout(200)
        assert found["texts"] > MANY_TEXTS
        style.evaluate("(style) => style.remove()")
        self.page.set_viewport_size(size)
        # Once more as it is: what scrolls must be reached by keys.
        rules = {"runOnly": ["scrollable-region-focusable"]}
        return found["faults"] + self._run_axe(selectors, rules)["faults"]

    def _run_axe(self, selectors: tuple[str, ...], options: dict) -> dict:
        """Return axe's findings, and of how many texts it has seen the contrast.

        What it has to say of all that is well stays on the page: megabytes.
        """
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(Axe().axe_script)
        return self.page.evaluate(
            """async ([selectors, options]) => {
              const include = selectors.map((selector) => [selector]);
              const { violations, passes } = await axe.run({ include }, options);
              const contrast = passes.find(({ id }) => id === "color-contrast");
              const describe = (id, { html, any }) =>
                `${id}: ${html.slice(0, 150)} ${any[0]?.message ?? ""}`;
              return {
                texts: contrast?.nodes.length ?? 0,
                faults: violations.flatMap(({ id, nodes }) =>
                  nodes.map((node) => describe(id, node))),
              };
            }""",
            [selectors, options],
        )

    def take_picture(self, name: str) -> str:
        """Save a screenshot; return its path, or why there is none."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        path = PICTURES / (re.sub(r"[^\w.-]+", "_", name)[:150] + ".png")
        try:
            path.write_bytes(self.page.screenshot(timeout=5000))
        except playwright.sync_api.Error as error:
            return f"none: {error}"
        return str(path)

    def close(self) -> None:
        """Close the page, and end the kernel."""
        if self.context is None:
            return
        self.context.close()
        self.context = None
        self.server.end_kernels(self.name)

    leave = close


class OwnNotebook(Notebook):
    """A notebook for one test after the other, in a page of JupyterLab that is kept.

    A page takes five seconds of the processor until it has loaded JupyterLab. It is
    kept as long as it is as it was at first.
    """

    def __init__(self, server: Server, browser) -> None:
        super().__init__(server, browser, "lab")
        self._at_first: dict = {}

    def open(self) -> None:
        """Open a new notebook, and wait for its kernel."""
        if self.context is None or self.has_failed or self._look() != self._at_first:
            self._open_page()
            place = f"lab/workspaces/{secrets.token_hex(4)}"
            self.page.goto(f"{self.server.url}/{place}?token={self.server.token}")
            self.page.wait_for_selector(".jp-LauncherCard")
            self.page.evaluate("() => window.jupyterapp.allPluginsActivated")
            self._at_first = self._look()
            self.has_failed = False
        self._forget()
        self._write_file()
        self.page.evaluate(
            """async (path) => {
              const { shell, commands } = window.jupyterapp;
              const others = [...shell.widgets("main")];
              await commands.execute("docmanager:open", { path });
              for (const other of others) other.dispose();
            }""",
            self.name,
        )
        self.wait_for_kernel()

    def leave(self) -> None:
        """End the kernel and close the notebook; after a failure the page, too."""
        if self.has_failed:
            self.close()
            return
        self.shut_down_kernel()
        self.page.evaluate(
            """() => {
              const { shell } = window.jupyterapp;
              for (const widget of [...shell.widgets("main")]) widget.dispose();
            }"""
        )
        self.page.wait_for_selector(".jp-LauncherCard")

    def _look(self) -> dict:
        """Return what a test could change of a page."""
        seen = self.page.evaluate(
            """() => {
              const { shell } = window.jupyterapp;
              const list = (area) => [...shell.widgets(area)]
                .map(({ constructor, isVisible }) => [constructor.name, isVisible]);
              const elements = [...document.body.children];
              return {
                theme: document.body.dataset.jpThemeName,
                overflow: getComputedStyle(document.body).overflow,
                areas: ["main", "left", "right", "down", "top", "bottom"].map(list),
                folded: [shell.leftCollapsed, shell.rightCollapsed],
                body: elements.map((element) => element.cloneNode().outerHTML).sort(),
                stored: Object.keys(localStorage).length,
                hacked: window.hacked ?? null,
              };
            }"""
        )
        tabs = len(self.context.pages)
        return {**seen, "size": self.page.viewport_size, "tabs": tabs}


@pytest.fixture(scope="session")
def pages(pytestconfig, server, browser):
    """The pages that tests share, by front end, as they have been opened."""
    pages = pytestconfig.stash[PAGES] = {}
    yield pages
    for page in pages.values():
        page.close()
    del pytestconfig.stash[PAGES]


# The pages stay: pytest sorts tests by parameter, and may come back to a front end.
@pytest.fixture(scope="session", params=["lab", "notebook"])
def shared(request, pages, server, browser):
    """A notebook for many tests, in each front end, with ipycron loaded."""
    app = request.param
    if app not in pages:
        opened = Notebook(server, browser, app)
        opened.open()
        opened.run(WARM)
        pages[app] = opened
    return pages[app]


@pytest.fixture
def notebook(shared):
    """The shared notebook, without tasks, cells and errors."""
    shared.errors.clear()
    yield shared
    if shared.has_failed:
        shared.close()
        return
    shared.clear()
    assert shared.errors == []


@pytest.fixture(scope="session")
def own_page(server, browser):
    """A page for notebooks of one test each, not open yet."""
    page = OwnNotebook(server, browser)
    yield page
    page.close()


@pytest.fixture(scope="module")
def lab_page(server, browser):
    """A page with JupyterLab, in which the tests of a module open notebooks."""
    opened = Notebook(server, browser, "lab")
    opened.open()
    opened.shut_down_kernel()
    opened.command("application:toggle-left-area")
    yield opened
    opened.context.close()


@pytest.fixture
def own_notebook(request, own_page):
    """A notebook for one test, whose kernel it may end; in JupyterLab by default."""
    app = getattr(request, "param", "lab")
    opened = own_page if app == "lab" else Notebook(server, browser, app)
    opened.open()
    opened.run(WARM)
    yield opened
    opened.leave()
    assert opened.errors == []
