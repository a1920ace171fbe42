"""`--keep`: what cannot outlive the notebook is refused by name."""

import pytest
from IPython.core.error import UsageError

from ipycron import get_tasks
from ipycron.notebook.magic.completion import complete
from ipycron.process.service.paths import VARIABLE


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a service that no test here may start."""
    folder = tmp_path / "service"
    monkeypatch.setenv(VARIABLE, str(folder))
    yield folder
    assert not folder.exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--keep", "--keep needs a --name: a kept task is found by it"),
        ("--keep --name a --inline", "--inline belongs to this notebook"),
        ("--keep --name a --into x", "--into belongs to this notebook"),
        ("--keep --name a --append-to x", "--append-to belongs to this notebook"),
        ("--keep --name a --on pool", "--on belongs to this notebook"),
        ("--keep --name a --logger log", "--logger belongs to this notebook"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_cannot_be_kept_is_refused(session, options, expected):
    """Each by its flag, in one line, and no service is started for it."""
    session.run("import logging, concurrent.futures as f")
    session.run("pool, log = f.ThreadPoolExecutor(1), logging.getLogger('a')")
    session.run(f"%%cron @yearly {options}\n1")
    error = session.result.error_in_exec
    assert type(error) is UsageError
    assert str(error).startswith(expected)
    assert not get_tasks()


def test_flag_is_offered_and_described(session):
    """As every other option."""
    assert "--keep" in complete("%%cron @hourly --ke", session.shell).texts
    written = session.run("%%cron --help")
    assert "--keep" in written
