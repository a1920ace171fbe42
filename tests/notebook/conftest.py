"""Fixtures for notebook tests: a shell in this process, forked workers, kernels."""

import builtins
import gc
import pickle
import sys
from pathlib import Path

import jupyter_core.utils
import pytest
from hours import pass_full_hour
from IPython.core.interactiveshell import InteractiveShell
from kernel import strip_colours
from traitlets.config import Config

from ipycron import create_task, get_tasks
from ipycron.notebook.capture.capture import capture_names

PATIENT = Path(__file__).parents[1] / "support" / "patient_kernel.py"


@pytest.fixture(scope="module", autouse=True)
def patient_kernels():
    """Have each IPython that is started give tasks a busy machine's time."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONSTARTUP", str(PATIENT))
        yield


@pytest.fixture(scope="module")
def module_shell():
    """A plain IPython shell in this process, removed afterwards."""
    before = dict(vars(builtins)), sys.modules["__main__"]
    config = Config()
    config.HistoryManager.enabled = False
    config.HistoryManager.hist_file = ":memory:"
    yield InteractiveShell.instance(config=config)
    InteractiveShell.clear_instance()
    for name in set(vars(builtins)) - set(before[0]):
        delattr(builtins, name)
    sys.modules["__main__"] = before[1]


def reset(shell):
    """Empty a shell's namespace.

    That collects garbage. What is left, IPython and all that cells have imported, need
    not be looked at again: it took the next reset a tenth of a second.
    """
    shell.reset(new_session=False)
    gc.freeze()


@pytest.fixture
def shell(module_shell):
    """The shell, with an empty namespace."""
    yield module_shell
    reset(module_shell)


@pytest.fixture
def use(shell, zygote):
    """Run cells in the notebook, then one cell in a worker; return its result."""

    def run(notebook, cell, contexts=(None,), **options):
        for source in [notebook] if isinstance(notebook, str) else notebook:
            shell.run_cell(source, store_history=True).raise_error()
        captured = capture_names(cell, shell, **options)
        (report,) = zygote.run(
            {
                "source": cell,
                "contexts": list(contexts),
                "extensions": captured.extensions,
                "snapshot": (captured.pickle, [bytes(b) for b in captured.buffers]),
            }
        )
        assert report["status"] == 0, report["stderr"]
        assert "load_error" not in report, report["load_error"]
        outcome = report["outcomes"][-1]
        assert outcome["is_ok"], outcome["text"]
        return pickle.loads(outcome["result"])

    return run


# --- the magics, in this process ------------------------------------------------------


class Session:
    """A shell with the extension: runs cells and captures their output."""

    def __init__(self, shell, capsys):
        self.shell = shell
        self.names = shell.user_ns
        self._capsys = capsys

    def run(self, source):
        """Run a cell; return its stdout and stderr."""
        self._capsys.readouterr()
        self.result = self.shell.run_cell(source)
        written = self._capsys.readouterr()
        return strip_colours(written.out + written.err)

    def read(self):
        """Return what was written to stdout since the last call."""
        return strip_colours(self._capsys.readouterr().out)


@pytest.fixture(scope="module")
def loaded_shell(module_shell):
    """The shell with the extension loaded, its supervisor and threads started."""
    module_shell.run_cell("%load_ext ipycron").raise_error()
    module_shell.run_cell("%%cron @yearly --name warm --quiet\n1").raise_error()
    module_shell.run_cell("%cron run warm --wait\n%cron destroy warm").raise_error()
    inline = create_task("@yearly", print)
    inline.start().result(20)
    inline.destroy().result(20)
    yield module_shell
    module_shell.run_cell("%unload_ext ipycron").raise_error()


@pytest.fixture
def session(loaded_shell, capsys):
    """A session without tasks and variables; the test's own are removed at its end."""
    yield Session(loaded_shell, capsys)
    if get_tasks():
        loaded_shell.run_cell("%cron destroy --all --force")
    reset(loaded_shell)


# --- real kernels ------------------------------------------------------------------

DEADLINE = 60.0
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


class Executed:
    """A notebook that was executed: its code cells and their outputs."""

    def __init__(self, notebook):
        self.cells = [c for c in notebook.cells if c.cell_type == "code"]

    def text(self, index):
        """Return all text in a cell's outputs, without colours."""
        parts, stream = [], None
        for output in self.cells[index].outputs:
            before, stream = stream, output.get("name")
            if output.output_type == "stream" and stream == before:
                parts[-1] += output.text  # one text, in two pieces as it was flushed
            elif output.output_type == "stream":
                parts.append(output.text)
            elif output.output_type == "error":
                parts.append("\n".join(output.traceback))
            else:
                parts.append(output.data.get("text/plain", ""))
        return strip_colours("\n".join(parts))

    def find(self, start):
        """Return the index of the first cell whose source begins with a text."""
        return next(
            i for i, c in enumerate(self.cells) if c.source.strip().startswith(start)
        )


@pytest.fixture
def execute():
    """Execute a notebook, or a list of cells, from top to bottom in a real kernel."""
    import nbclient  # noqa: PLC0415 - a second, for those who need it
    import nbformat  # noqa: PLC0415 - as above

    def run(cells, **options):
        try:
            return run_once(cells, **options)
        except (RuntimeError, nbclient.exceptions.CellExecutionError) as error:
            # Jupyter looks for free ports, and the kernel takes them a second later: on
            # a busy machine another program may have been faster.
            if "Kernel died before replying to kernel_info" not in str(error):
                raise
            return run_once(cells, **options)

    def run_once(cells, *, allow_errors=False, cwd=NOTEBOOKS):
        if isinstance(cells, Path):
            pass_full_hour()
            notebook = nbformat.read(cells, 4)
        else:
            notebook = nbformat.v4.new_notebook(
                cells=[nbformat.v4.new_code_cell(source) for source in cells]
            )
        client = nbclient.NotebookClient(
            notebook,
            timeout=DEADLINE,
            kernel_name="python3",
            allow_errors=allow_errors,
            resources={"metadata": {"path": str(cwd)}},
        )
        client.execute()
        return Executed(notebook)

    return run


@pytest.fixture(scope="session", autouse=True)
def jupyter_loop():
    """Start the loop per thread that Jupyter's clients keep, before any counting."""
    loop = jupyter_core.utils.ensure_event_loop()
    yield
    loop.close()
