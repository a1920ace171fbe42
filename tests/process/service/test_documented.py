"""The examples of `docs/kept.md`, run as they stand there, one after another."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from polling import eventually

from ipycron.service.units import COPIED

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/kept.md").read_text(encoding="utf-8")
COMMAND = [sys.executable, "-P", "-m", "ipycron"]
CELL = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("%load_ext ipycron").raise_error()
shell.run_cell("def load():\\n    print('loaded')").raise_error()
shell.run_cell({cell!r}).raise_error()
"""


def run(service, command, cwd, codes=(0,)):
    """Run a program; return what it wrote to stdout."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
        cwd=cwd,
        env={**os.environ, **service.env},
    )
    assert done.returncode in codes, (command, done.stdout, done.stderr)
    return done.stdout


def run_block(service, block, cwd):
    """Run each line of a block for the shell; return what each wrote."""
    said = {}
    for line in block.splitlines():
        words = shlex.split(line)
        assert words[0] == "ipycron"
        codes = (0, 1) if words[1] == "doctor" else (0,)
        said[line] = run(service, [*COMMAND, *words[1:]], cwd, codes)
    return said


def test_examples_of_kept_tasks_run(service, tmp_path):
    """Two programs, then the commands for tasks, then those for the service."""
    (tmp_path / "nightly.py").write_text("print('nothing to do')\n")
    declare, control = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    tasks, services = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    assert run(service, [sys.executable, "-c", declare], tmp_path) == (
        "nightly idle True\n"
    )
    assert run(service, [sys.executable, "-c", control], tmp_path) == "finished\n"
    said = run_block(service, tasks, tmp_path)
    assert said["ipycron run nightly"] == "nothing to do\n"
    assert said["ipycron destroy nightly"] == "nightly: destroyed\n"
    said = run_block(service, services, tmp_path)
    assert said["ipycron service stop"].startswith("stopped: process ")


def test_cell_of_the_documentation_is_kept(service, tmp_path):
    """When its notebook is gone, it is run by the service."""
    (cell,) = re.findall(r"\n((?:    .*\n)+)\nIt needs a name", TEXT)
    cell = "\n".join(line[4:] for line in cell.splitlines())
    run(service, [sys.executable, "-c", CELL.format(cell=cell)], tmp_path)
    listed = run(service, [*COMMAND, "list", "--json"], tmp_path)
    assert json.loads(listed)["name"] == "nightly"
    assert run(service, [*COMMAND, "run", "nightly"], tmp_path) == "loaded\n"


def test_container_of_the_documentation_is_served(service, tmp_path):
    """Its command is the service, in the foreground."""
    (command,) = re.findall(r"    CMD (\[.*\])", TEXT)
    words = json.loads(command)
    assert words[0] == "ipycron"
    with subprocess.Popen(
        [*COMMAND, *words[1:]],
        stderr=subprocess.DEVNULL,
        env={**os.environ, **service.env},
    ) as process:
        eventually(lambda: service.pid == process.pid, "the service", 60)
        process.terminate()
        assert process.wait(60) == 0


def test_documentation_names_every_check_and_variable(service, tmp_path):
    """And none that there is not."""
    lines = run(service, [*COMMAND, "doctor", "--json"], tmp_path, codes=(0, 1))
    checks = {json.loads(line)["check"] for line in lines.splitlines()}
    (table,) = re.findall(r"\| check \|.*?\n\n", TEXT, re.DOTALL)
    named = {
        name.strip()
        for row in table.splitlines()[2:]
        if row
        for name in row.split("|")[1].split(",")
    }
    assert named == checks
    chapter = TEXT.partition("## systemd")[2].partition("## Containers")[0]
    assert [name for name in COPIED if f"`{name}`" not in chapter] == []
