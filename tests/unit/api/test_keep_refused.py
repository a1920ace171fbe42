"""What cannot outlive its process is refused by name, and no service is started."""

import asyncio
import concurrent.futures
import logging
import threading

import pytest

import ipycron
from ipycron.errors import CaptureError, InvalidOption
from ipycron.process.service.paths import VARIABLE
from ipycron.testing import time_travel


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The folder of a service that no test here may start."""
    folder = tmp_path / "service"
    monkeypatch.setenv(VARIABLE, str(folder))
    yield folder
    ipycron.shutdown(0)
    assert not folder.exists()


def job():
    """Do nothing."""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"background": True}, "name: got None, expected a name, with keep=True"),
        ({"name": "a"}, "keep: got True, expected False for a function that runs in"),
        (
            {"name": "a", "background": True, "logger": logging.getLogger("a")},
            "logger: got <Logger a",
        ),
        (
            {"name": "a", "background": True, "distributed": True},
            "distributed: got True, expected False with keep=True: each machine's",
        ),
    ],
)
def test_option_that_cannot_be_kept_is_refused(options, expected):
    """The error says which one, and why."""
    with pytest.raises(InvalidOption) as caught:
        ipycron.schedule("@yearly", job, keep=True, **options)
    assert str(caught.value).startswith(expected)
    assert not ipycron.get_tasks()


def test_executor_cannot_be_kept():
    """It is an object of this process."""
    refused = pytest.raises(InvalidOption, match=r"executor: .* None with keep=True")
    with concurrent.futures.ThreadPoolExecutor(1) as pool, refused:
        ipycron.schedule("@yearly", job, name="a", keep=True, executor=pool)


def test_coroutine_function_of_a_loop_cannot_be_kept():
    """Nor can one that runs on the loop of this process."""

    async def work():
        """Do nothing."""

    async def declare():
        with pytest.raises(InvalidOption, match="Pass background=True"):
            ipycron.schedule("@yearly", work, name="a", keep=True)

    asyncio.run(declare())


def test_function_that_does_not_travel_is_refused():
    """As for any background task, before anything is started."""
    lock = threading.Lock()
    with pytest.raises(CaptureError, match="lock"):
        ipycron.schedule("@yearly", lambda: lock, name="a", keep=True, background=True)


def test_nothing_is_kept_on_a_time_that_a_test_moves():
    """The service is in real time."""
    with time_travel("2026-12-01 08:59"):
        ipycron.schedule("@yearly", len, name="b")
        with pytest.raises(InvalidOption, match="expected False here"):
            ipycron.create_task("@yearly", job, name="a", keep=True, background=True)
