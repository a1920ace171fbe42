"""A service of its own for each test."""

import shutil
import tempfile
from pathlib import Path

import pytest
from kept_service import KeeperOfTest, ServiceOfTest
from service_clock import Clock


@pytest.fixture
def service(tmp_path):
    """A service that is not started yet; nothing of it is left afterwards."""
    # A socket's path is short, that of a test is not.
    folder = Path(tempfile.mkdtemp(prefix="ipycron-kept-"))
    service = ServiceOfTest(folder / "service", tmp_path / "history.sqlite")
    yield service
    has_ended = service.end()
    log = service.places.log
    if log.exists():
        print(log.read_text())  # noqa: T201 - shown if the test has failed
    shutil.rmtree(folder, ignore_errors=True)
    assert has_ended, "the service had to be killed"


@pytest.fixture
def keeper(tmp_path):
    """A keeper that is not open yet."""
    # A socket's path is short, that of a test is not.
    folder = Path(tempfile.mkdtemp(prefix="ipycron-kept-"))
    keeper = KeeperOfTest(folder / "service", tmp_path / "history.sqlite")
    yield keeper
    keeper.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def slots(tmp_path):
    """A task file that notes each slot, with the notes."""
    return Slots(tmp_path)


@pytest.fixture
def clock(service, tmp_path):
    """The clock of the test's service: right, until it is set."""
    return Clock(tmp_path / "clock", service)


class Slots:
    """A job that appends its slot to a file."""

    def __init__(self, folder):
        self.notes = folder / "slots"
        self.notes.touch()
        self.job = folder / "job.py"
        self.job.write_text(
            "def task(context):\n"
            f"    with open({str(self.notes)!r}, 'a') as file:\n"
            "        file.write(f'{context.date.timestamp():.0f}\\n')\n"
        )

    def read(self):
        """Return the slots that have run, in the order of their runs."""
        return [int(line) for line in self.notes.read_text().split()]

    def find_doubled(self):
        """Return the slots that have run more than once."""
        slots = self.read()
        return sorted({slot for slot in slots if slots.count(slot) > 1})

    def is_whole(self, last):
        """Return whether every slot has run from the first to this one at least."""
        slots = set(self.read())
        return set(range(min(slots), max(last, *slots) + 1)) == slots

    def check(self):
        """Check that no slot between the first and the last is missing or doubled."""
        assert self.find_doubled() == [], "doubled"
        slots = self.read()
        missing = set(range(min(slots), max(slots) + 1)) - set(slots)
        assert not missing, f"missing: {sorted(missing)} of {sorted(slots)}"
