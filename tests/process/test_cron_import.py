"""What importing cron costs, and that its examples run."""

from __future__ import annotations

import doctest
import subprocess
import sys
from importlib import import_module

import pytest

# Each would be paid by every supervisor at its start.
HEAVY = {
    "IPython",
    "asyncio",
    "calendar",
    "cron_descriptor",
    "croniter",
    "dataclasses",
    "dateutil",
    "difflib",
    "gettext",
    "inspect",
    "tzlocal",
    "unicodedata",
}


def test_import_is_light():
    """A fresh interpreter loads no library, and nothing only errors need."""
    code = (
        "import sys; before = set(sys.modules); import ipycron.cron; "
        "print(*set(sys.modules) - before)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(found.stdout.split())
    assert "ipycron.cron.expression" in loaded
    assert loaded & HEAVY == set()
    ours = {name for name in loaded if name.startswith("ipycron.")}
    assert {name for name in ours if not name.startswith("ipycron.errors")} == {
        "ipycron.lazy",  # the package's own
        "ipycron.cron",
        *(f"ipycron.cron.{name}" for name in ("days", "expression", "fields")),
        *(f"ipycron.cron.{name}" for name in ("hashing", "parser", "validation")),
        *(
            f"ipycron.cron.{name}"
            for name in ("local", "timezone", "trigger", "walk", "zone")
        ),
    }


@pytest.mark.parametrize("name", ["expression", "validation"])
def test_examples_in_docstrings_run(name):
    """Every example in a docstring is correct."""
    module = import_module(f"ipycron.cron.{name}")
    failed, tried = doctest.testmod(module)
    assert tried
    assert not failed


def test_command_prints_the_caret():
    """For a mistyped expression, as a user sees it."""
    code = "from ipycron.cron import CronExpression as C; print(C('61 * * * *'))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert "\n  61 * * * *\n  ^^\n" in found.stderr
