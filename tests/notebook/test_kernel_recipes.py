"""The notebooks about outputs and everyday jobs, executed in a real kernel."""

import re
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(120)]


def test_outputs_brings_back_what_cells_print_show_and_raise(execute):
    """Text, tables, figures, progress and failures appear as the text says."""
    done = execute(NOTEBOOKS / "outputs.ipynb")
    lines = done.text(done.find("%cron wait lines"))
    assert "counting\n0 1 2 \nfrom the shell\n" in lines
    assert "stderr: a warning" in lines
    assert "apple" in done.text(done.find("%cron wait table"))
    assert "[['image/png', 'text/plain']]" in done.text(done.find("%cron wait figure"))
    progress = done.text(done.find("%cron wait progress"))
    assert "['display', 'display', 'update', 'update', 'update']" in progress
    failing = done.text(done.find("%cron wait failing"))
    assert "KeyError('USD')\nFalse KeyError: 'USD'" in failing


def test_recipes_do_what_people_schedule(execute):
    """Polling a service, growing a frame, fitting a model, a failure alert."""
    done = execute(NOTEBOOKS / "recipes.ipynb")
    assert re.search(r"'visitors': 1\d\d", done.text(done.find("%cron wait poll")))
    assert "waited" in done.text(done.find("%cron wait samples"))
    assert "['order-1.csv']" in done.text(done.find("import ipycron"))
    assert "array([3., 2.])" in done.text(done.find("%cron wait model"))
    assert "[('pear', 3)]" in done.text(done.find("import sqlite3"))
    alerts = done.text(done.find("%cron wait shaky"))
    assert "['shaky: the service did not answer']" in alerts


def test_readme_cells_run_as_they_stand(execute):
    """The README's two cells in order, and a run of the second."""
    text = (NOTEBOOKS.parent / "README.md").read_text(encoding="utf-8")
    cells = re.findall(r"```\n(%.*?)```", text, re.DOTALL)
    done = execute([*cells, "%cron wait sampler --runs 1 --for 20s"])
    assert len(cells) == 2
    declared = done.text(done.find("%%cron"))
    assert declared.lstrip().startswith("sampler: Every 5 seconds")
    assert "captured: threshold (float)" in declared
    assert re.search(r"sampler: [1-9]\d* runs?\b", done.text(done.find("%cron wait")))


def test_policies_do_what_they_say_when_executed(execute):
    """Attempts, a cancelled run, a queue, a replaced run and a pool."""
    done = execute(NOTEBOOKS / "policies.ipynb")
    assert "fetched in attempt" in done.text(done.find("%cron run fetch"))
    assert done.text(done.find("class Busy")).startswith("failed in attempt 1")
    assert "'cancelled'" in done.text(done.find("%cron run settle"))
    assert done.text(done.find("import asyncio")).endswith("True")
    replaced = done.text(done.find("def hang"))
    assert "was replaced by a newer one" in replaced
    assert "'replaced'" in replaced
    assert done.text(done.find("ipycron.set_pool")).endswith("True")
    assert "large: destroyed" in done.text(done.find("%cron destroy"))
