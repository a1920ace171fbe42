"""The wheel: what it installs is all that the command needs."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from programs import find_complaints

ROOT = Path(__file__).parents[2]
PARTS = ("ipycron", "notebooks/tasks")
FILES = ("pyproject.toml", "README.md", "LICENSE")
COMMANDS = {
    "demo": (["demo", "--seconds", "6"], "Processes of ipycron that are left: 0."),
    "next": (["next", "0 9 * * *", "-n", "1", "--tz", "Asia/Tokyo"], "09:00:00 JST"),
    "explain": (["explain", "0 9 * * mon-fri", "--locale", "de"], "Um 09:00, Montag"),
    "run": (["run", "--max-executions", "1", "* * * * * *", "job.py"], "ran here"),
}


def pip(*words):
    """Run pip; show its output if it fails."""
    command = [sys.executable, "-m", "pip", *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


BUILDERS = ("hatchling", "hatch_fancy_pypi_readme")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Build the wheel from a copy of the sources; return where it is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    for part in PARTS:
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / part, folder / "source" / part, ignore=unwanted)
    for name in FILES:
        shutil.copy(ROOT / name, folder / "source")
    # Without the builders here pip fetches them.
    is_here = all(importlib.util.find_spec(name) for name in BUILDERS)
    flags = ["--no-build-isolation"] * is_here
    pip("wheel", "-q", "--no-deps", *flags, "-w", folder, folder / "source")
    (wheel,) = folder.glob("*.whl")
    pip("install", "-q", "--no-deps", "--no-index", "--target", folder / "site", wheel)
    shutil.rmtree(folder / "source")
    return folder / "site"


@pytest.mark.timeout(180)  # the first one builds and installs it, too
@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_works_where_only_the_wheel_is(name, installed, tmp_path):
    """Nothing of the repository can be imported."""
    (tmp_path / "job.py").write_text("print('ran', 'here')")
    words, expected = COMMANDS[name]
    ended = subprocess.run(
        [sys.executable, "-m", "ipycron.cli", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (ended.returncode, find_complaints(ended.stderr)) == (0, []), ended.stdout
    assert expected in ended.stdout
