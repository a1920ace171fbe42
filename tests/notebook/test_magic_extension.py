"""Loading, reloading, unloading; and what is printed at a session's end."""

import logging
from types import SimpleNamespace

import pytest
from fresh import run_fresh
from polling import pause

from ipycron import get_tasks
from ipycron.client.announce import _log_error
from ipycron.client.registry import registry
from ipycron.notebook.display.last_resort import LastResort
from ipycron.notebook.magic import extension

UNCHANGED = (
    "magics_manager.magics['line']",
    "magics_manager.magics['cell']",
    "events.callbacks['pre_run_cell']",
    "events.callbacks['post_run_cell']",
    "input_transformers_cleanup",
    "Completer.custom_matchers",
    "display_formatter.mimebundle_formatter.type_printers",
    "display_formatter.mimebundle_formatter.deferred_printers",
)


def vars_of(shell):
    """Return the possible first names of a path."""
    return {
        name: getattr(shell, name) for name in {p.partition(".")[0] for p in UNCHANGED}
    }


def copy(shell):
    """Return copies of what an extension may change in a shell."""
    return {path: list(eval(path, vars_of(shell))) for path in UNCHANGED}


@pytest.fixture
def fresh(module_shell, capsys):
    """A shell without the extension, which is unloaded afterwards in any case."""
    yield module_shell
    module_shell.run_cell("%unload_ext ipycron")
    module_shell.reset(new_session=False)


def test_unloading_leaves_nothing_in_the_shell(fresh, capsys):
    """Magics, events, transformers, matchers and formatters are as before."""
    before = copy(fresh), logging.lastResort
    fresh.run_cell("%load_ext ipycron").raise_error()
    fresh.run_cell("%cron")
    assert copy(fresh) != before[0]
    fresh.run_cell("%unload_ext ipycron").raise_error()
    assert (copy(fresh), logging.lastResort) == before


def test_unloading_ends_the_tasks_and_says_which(fresh, capsys):
    """No task continues that the user can no longer see."""
    fresh.run_cell("%load_ext ipycron").raise_error()
    fresh.run_cell("%%cron @yearly --name a --quiet\n1")
    fresh.run_cell("%%cron @yearly --name b --quiet\n1")
    capsys.readouterr()
    fresh.run_cell("%unload_ext ipycron").raise_error()
    assert capsys.readouterr().out == "ended: a, b\n"
    assert not get_tasks()


def test_unloading_at_once_leaves_no_supervisor(fresh, monkeypatch):
    """What %load_ext has started is finished before the shutdown."""
    warm_up = extension.warm

    def warm_up_late():
        pause(0.2)
        warm_up()

    monkeypatch.setattr(extension, "warm", warm_up_late)
    fresh.run_cell("%load_ext ipycron").raise_error()
    fresh.run_cell("%unload_ext ipycron").raise_error()
    pause(0.3)
    assert registry.running_client is None


def test_loading_twice_is_loading_once(fresh, capsys):
    """A second extension object would handle each event twice."""
    fresh.run_cell("%load_ext ipycron").raise_error()
    loaded = copy(fresh)
    fresh.run_cell("%load_ext ipycron")
    import ipycron  # noqa: PLC0415 - what a configuration might do

    ipycron.load_ipython_extension(fresh)
    assert copy(fresh) == loaded


def test_reloading_keeps_the_tasks(fresh, capsys):
    """``%reload_ext`` reloads code and ends nothing."""
    fresh.run_cell("%load_ext ipycron").raise_error()
    fresh.run_cell("%%cron @yearly --name a --quiet\n1")
    loaded = copy(fresh)
    fresh.run_cell("%reload_ext ipycron").raise_error()
    assert [task.name for task in get_tasks().values()] == ["a"]
    assert copy(fresh) == loaded
    fresh.run_cell("%cron destroy a").raise_error()


def test_loading_imports_next_to_nothing():
    """The rest is imported on another thread, widgets at the first display."""
    program = (
        "import sys\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "from traitlets.config import Config\n"
        "config = Config()\n"
        "config.HistoryManager.enabled = False\n"
        "shell = InteractiveShell.instance(config=config)\n"
        "import threading\n"
        "threading.Thread.start = lambda thread: None\n"
        "before = set(sys.modules)\n"
        "shell.run_cell('%load_ext ipycron').raise_error()\n"
        "new = set(sys.modules) - before\n"
        "import json\n"
        "print(json.dumps(sorted(n for n in new if n.startswith('ipycron'))))\n"
    )
    assert run_fresh(program) == [
        "ipycron",
        "ipycron.lazy",
        "ipycron.notebook",
        "ipycron.notebook.magic",
        "ipycron.notebook.magic.extension",
        "ipycron.notebook.magic.formats",
        "ipycron.notebook.magic.magics",
        "ipycron.process",
        "ipycron.process.service",
        "ipycron.process.service.presence",
    ]


class Shown:
    """A display that shows one task."""

    def has(self, name):
        """Return that it is shown."""
        return name == "shown"


@pytest.mark.parametrize(
    ("logger", "name", "is_written"),
    [
        ("ipycron", "shown", False),
        ("ipycron", "hidden", True),
        ("ipycron", None, True),
        ("of the task's own", "shown", False),
        ("others", None, True),
    ],
)
def test_log_without_handlers_leaves_out_what_is_shown_anyway(
    capsys, monkeypatch, logger, name, is_written
):
    """A failure shown in a card is not printed below another cell as well.

    Not its text decides, which anybody may write, but what the record says.
    """
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    resort = LastResort(Shown())
    monkeypatch.setattr(logging, "lastResort", resort)
    extra = None if name is None else {"ipycron_name": name}
    logging.getLogger(logger).warning("task %r: no", "shown", extra=extra)
    assert capsys.readouterr().err == ("task 'shown': no\n" if is_written else "")


def log_failure(name):
    """Log a failed run like the client."""
    task = SimpleNamespace(name=name, logger=logging.getLogger("ipycron"))
    _log_error(task, "a run failed", ValueError("no"))


def test_failure_in_a_notebook_is_one_line_that_says_where_to_look(capsys, monkeypatch):
    """It appears below another cell, so the traceback is shown elsewhere."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    resort = LastResort(Shown(), {"quiet"})
    monkeypatch.setattr(logging, "lastResort", resort)
    for name in ("shown", "quiet", "my task"):
        log_failure(name)
    assert capsys.readouterr().err == (
        "task 'my task': a run failed: ValueError: no. "
        "%cron show 'my task' has the traceback\n"
    )


def test_end_of_a_session_tells_what_is_scheduled_still(session, caplog):
    """The log names the tasks that end with it."""
    session.run("%%cron @yearly --name a --quiet\n1")
    session.run("%%cron @yearly --name b --quiet\n1")
    session.run("%cron start --all\n%cron stop b")
    LastResort.log_scheduled()
    (record,) = [r for r in caplog.records if "still" in r.message]
    assert record.message == "still scheduled at the end of this session: a"
    assert record.levelno == logging.WARNING


FIRST_CELL = """
import json, sys, threading
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("1")
assert shell.run_cell("%load_ext ipycron").success
for thread in threading.enumerate():
    if thread.name == "ipycron-warm":
        thread.join(30)
shell.run_cell("1")
imported = []

class Finder:
    # Notes what the cell's own thread imports: what others do delays no cell.
    def find_spec(name, path, target=None):
        if threading.current_thread() is threading.main_thread():
            imported.append(name)

sys.meta_path.insert(0, Finder)
assert shell.run_cell("%%cron 0 0 1 1 *\\n1").success
sys.meta_path.remove(Finder)
shell.run_cell("import ipycron; ipycron.shutdown()")
print(json.dumps(imported))
"""


def test_first_cell_imports_nothing():
    """Soon after %load_ext, everything that `%%cron` needs is imported."""
    assert run_fresh(FIRST_CELL, 60) == []
