"""The fleet notebook: kernels that share a file, then Redis; a Dask cluster."""

import re
from pathlib import Path

import pytest
from redis_server import require_redis

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"

pytestmark = pytest.mark.filterwarnings("default")


def check_fires(text):
    """Check that every fire ran exactly once, wherever."""
    found = re.findall(r"^(\d\d:\d\d:\d\d) by kernel [123]$", text, re.MULTILINE)
    assert len(found) >= 2
    assert len(set(found)) == len(found)


def test_fleet_does_what_it_says_when_executed(execute):
    """Each fire once, despite a killed kernel; skips with a reason; remote runs."""
    require_redis()
    done = execute(NOTEBOOKS / "fleet.ipynb")
    by_file, by_redis = (
        index
        for index, cell in enumerate(done.cells)
        if cell.source.startswith("run_in_others(In[-2])")
    )
    check_fires(done.text(by_file))
    killed = done.text(done.find("manager, client = "))
    (fires, different) = re.search(r"(\d+) fires, (\d+) of them", killed).groups()
    assert fires == different
    assert "Health(is_ok=True" in done.text(
        done.find('run_everywhere(f"""\nimport redis')
    )
    check_fires(done.text(by_redis))
    away = done.text(done.find("import time"))
    assert away.startswith("coordinator-error\nrun coordinator: Redis: ConnectionError")
    assert "in another process: True" in done.text(done.find("%cron wait pi"))
    lost = done.text(done.find("import signal"))
    assert "the executor lost the run: the Dask worker" in lost
    assert done.text(len(done.cells) - 1).startswith("pi: destroyed\nsit: destroyed")
