"""Capture in the shells that people use: a kernel, and IPython in a terminal."""

import subprocess
import sys

import pytest

NOTEBOOK = """
import sys
import math as m
factor = 3
stream = sys.stdout
def scale(x):
    return shift(x) * factor
def shift(x): return x + m.pi
_own = 1
"""

CELL = """
from ipycron.notebook.capture.capture import capture_names, check_syntax
check_syntax("await x", get_ipython())
cell = "scale(1), stream, _own, _, In, exit, open, get_ipython\\n!echo {factor}"
captured = capture_names(cell, get_ipython())
names = sorted((name.name, name.type_name) for name in captured.names)
assert "return shift" in bytes(captured.buffers[0]).decode(errors="replace")
print(", ".join(f"{name} {kind}" for name, kind in names))
"""

EXPECTED = "_own int, factor int, m module, scale function, shift function, stream "


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_capture_works_in_a_kernel(execute):
    """A notebook's kernel: its streams, its file names, its history."""
    (output,) = execute([NOTEBOOK, CELL]).cells[1].outputs
    assert output["text"] == f"{EXPECTED}OutStream\n"


def test_capture_works_in_a_terminal(tmp_path):
    """IPython's own names are left out; functions of cells have source lines."""
    script = tmp_path / "session.ipy"
    cells = "\n".join(
        f"get_ipython().run_cell({c!r}).raise_error()" for c in (NOTEBOOK, CELL)
    )
    script.write_text(cells)
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--simple-prompt", "--quick", str(script)],
        env={"IPYTHONDIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert f"{EXPECTED}TextIOWrapper\n" in done.stdout, done.stdout + done.stderr
