"""Claims in an SQLite file, within one process, with an injected clock (D2)."""

import os
import pickle
import platform
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from polling import SECONDS

from ipycron.coordinate import SQLiteRunCoordinator, claimfile
from ipycron.errors import CoordinatorError

KEY = "report:2026-11-24T09:00:00.000Z"


class Clock:
    """A wall clock that is set by hand."""

    def __init__(self):
        self.at = 1_800_000_000.0

    def __call__(self):
        """Return the current time."""
        return self.at


@pytest.fixture
def clock():
    """A wall clock that is set by hand."""
    return Clock()


@pytest.fixture
def make(tmp_path, clock):
    """Create coordinators of one file, closed at the end."""
    made = []

    def make_one(now=clock, path=tmp_path / "claims.db"):
        made.append(SQLiteRunCoordinator(path, now=now))
        return made[-1]

    yield make_one
    for coordinator in made:
        coordinator.close()


def count_descriptors():
    """Return how many descriptors this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def read_keys(path):
    """Return the keys in the file."""
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute("SELECT key FROM claims")]
    finally:
        connection.close()


# --- claims ----------------------------------------------------------------------


def test_should_run_is_true_for_the_first_that_asks_only(make):
    """One fire, one instance; asking twice is not granted, either."""
    first, second = make(), make()
    assert first.should_run(KEY, 30) is True
    assert second.should_run(KEY, 30) is False
    assert first.should_run(KEY, 30) is False
    assert second.should_run("report:other", 30) is True


def test_a_claim_is_kept_for_its_whole_lease_when_the_run_was_quick(make, clock):
    """An instance whose clock is late by less than the lease does not run it."""
    first, second = make(), make()
    assert first.should_run(KEY, 30)
    first.on_complete(KEY)
    clock.at += 29.999
    assert not second.should_run(KEY, 30)
    clock.at += 0.001
    assert second.should_run(KEY, 30)


def test_renew_makes_a_claim_last_a_lease_from_now(make, clock):
    """A run may take longer than its lease."""
    first, second = make(), make()
    assert first.should_run(KEY, 30)
    for _ in range(9):
        clock.at += 10
        assert first.renew(KEY, 30) is True
    clock.at += 29
    assert not second.should_run(KEY, 30)
    clock.at += 1
    assert second.should_run(KEY, 30)


def test_renew_is_refused_while_another_holds_the_claim(make, clock):
    """Only the holder renews; a holder that is too late has lost it."""
    first, second = make(), make()
    assert first.should_run(KEY, 30)
    assert second.renew(KEY, 30) is False
    clock.at += 30
    assert second.should_run(KEY, 30)
    assert first.renew(KEY, 30) is False
    assert second.renew(KEY, 30) is True


def test_renew_makes_the_claim_again_when_it_is_gone(make, clock):
    """It expired and was removed, but the run is still in progress."""
    first, second = make(), make()
    assert first.should_run(KEY, 30)
    clock.at += 31
    second.on_complete("other:1")
    assert first.renew(KEY, 30) is True
    assert not second.should_run(KEY, 30)


def test_renew_does_not_shorten_a_claim_when_the_clock_stepped_back(make, clock):
    """A corrected clock releases nothing early."""
    first, second = make(), make()
    assert first.should_run(KEY, 30)
    clock.at -= 3600
    assert first.renew(KEY, 30)
    clock.at += 3629
    assert not second.should_run(KEY, 30)


def test_on_complete_removes_expired_claims_and_no_others(make, clock, tmp_path):
    """The file does not grow."""
    coordinator = make()
    for second in range(100):
        assert coordinator.should_run(f"report:{second}", 30)
        coordinator.on_complete(f"report:{second}")
        clock.at += 1
    assert read_keys(tmp_path / "claims.db") == [f"report:{n}" for n in range(70, 100)]


def test_a_key_may_hold_any_text(make):
    """Names may be any text."""
    first, second = make(), make()
    key = "'; DROP TABLE claims; -- ü☃ \x00 \n" + "x" * 10_000
    assert first.should_run(key, 30)
    assert not second.should_run(key, 30)


def test_the_lease_counts_from_the_question_by_the_machines_clock(tmp_path):
    """The default clock is the wall clock, which other processes share."""
    with_lease = SQLiteRunCoordinator(tmp_path / "claims.db")
    try:
        assert with_lease.should_run(KEY, 3600)
        assert not with_lease.should_run(KEY, 3600)
        assert with_lease.should_run("report:b", -1)
        assert with_lease.should_run("report:b", 3600)
    finally:
        with_lease.close()


def test_threads_share_a_coordinator(make):
    """Each key is won exactly once by all threads together."""
    coordinators = [make(), make()]
    won = []

    def race(number):
        coordinator = coordinators[number % 2]
        won.extend(n for n in range(100) if coordinator.should_run(f"k:{n}", 30))

    threads = [threading.Thread(target=race, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(won) == list(range(100))


@pytest.mark.parametrize("round_", range(5))
def test_coordinators_made_at_one_instant_share_one_new_file(make, round_):
    """Switching to the write-ahead log fails for all but one, which must retry."""
    start = threading.Barrier(8)
    won = []

    def claim():
        start.wait(SECONDS)
        won.append(make().should_run(KEY, 30))

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(won) == [False] * 7 + [True]


def test_a_file_that_is_busy_on_opening_is_tried_again(tmp_path):
    """Even where SQLite itself does not wait: in the switch to the log."""
    path = tmp_path / "claims.db"
    busy = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    busy.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.1, busy.close)
    release.start()
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    claimfile._prepare(connection, 4.0)
    assert connection.execute("SELECT count(*) FROM claims").fetchone() == (0,)
    connection.close()
    release.join(SECONDS)


# --- the file --------------------------------------------------------------------


def test_the_file_is_for_its_user_only_whatever_the_umask(make, tmp_path):
    """Task names may be private; no other file is left in the folder."""
    old = os.umask(0)
    try:
        coordinator = make()
        coordinator.should_run(KEY, 30)
    finally:
        os.umask(old)
    modes = {p.name: p.stat().st_mode & 0o777 for p in tmp_path.iterdir()}
    assert modes == {
        "claims.db": 0o600,
        "claims.db-wal": 0o600,
        "claims.db-shm": 0o600,
    }
    coordinator.close()
    assert [p.name for p in tmp_path.iterdir()] == ["claims.db"]


@pytest.mark.parametrize("mode", [0o666, 0o777, 0o644, 0o604, 0o606])
def test_a_file_that_everybody_may_use_is_tightened(make, tmp_path, mode, caplog):
    """Whoever can write to it decides what runs here; one line is logged."""
    path = tmp_path / "claims.db"
    path.touch()
    path.chmod(mode)
    assert make().should_run(KEY, 30)
    modes = [p.stat().st_mode & 0o077 for p in tmp_path.iterdir()]
    assert modes == [0] * 3
    (record,) = caplog.records
    assert f"mode {mode:o}" in record.getMessage()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's file")
def test_a_file_of_another_user_that_everybody_may_write_to_is_refused(make, tmp_path):
    """Its mode cannot be changed, so it is not trusted."""
    path = tmp_path / "claims.db"
    path.touch()
    path.chmod(0o666)
    os.chown(path, 65534, 65534)
    with pytest.raises(CoordinatorError, match=r"another user's.*mode 666"):
        make()


def test_a_link_out_of_the_folder_is_logged(make, tmp_path, caplog):
    """The log says where the claims really are."""
    elsewhere, here = tmp_path / "elsewhere", tmp_path / "here"
    elsewhere.mkdir()
    here.mkdir()
    (here / "claims.db").symlink_to(elsewhere / "shared.db")
    assert make(path=here / "claims.db").should_run(KEY, 30)
    (record,) = caplog.records
    assert str(elsewhere / "shared.db") in record.getMessage()
    assert (elsewhere / "shared.db").exists()


def test_a_link_within_the_folder_is_not_logged(make, tmp_path, caplog):
    """Neither does a link to a parent folder."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "claims.db").symlink_to("other.db")
    assert make(path=tmp_path / "link" / "claims.db").should_run(KEY, 30)
    assert not caplog.records


def test_a_file_that_is_shared_with_a_group_keeps_its_mode(make, tmp_path):
    """Two users may share one on purpose."""
    path = tmp_path / "claims.db"
    path.touch(mode=0o660)
    path.chmod(0o660)
    assert make().should_run(KEY, 30)
    assert path.stat().st_mode & 0o777 == 0o660


@pytest.mark.parametrize(
    "name", ["a b.db", "what?mode=ro.db", "50%.db", "#.db", "ü.db"]
)
def test_the_file_may_have_any_name(make, tmp_path, name):
    """Names are not parsed as URIs."""
    assert make(path=tmp_path / name).should_run(KEY, 30)
    assert (tmp_path / name).is_file()


def test_a_path_is_absolute_from_the_creation_on(make, tmp_path, monkeypatch):
    """The working directory may change; ``~`` is expanded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    coordinator = make(path="claims.db")
    monkeypatch.chdir("/")
    assert coordinator.should_run(KEY, 30)
    assert make(path="~/claims.db").should_run(KEY, 30) is False
    assert repr(coordinator) == f"<SQLiteRunCoordinator {tmp_path / 'claims.db'}>"


def test_two_coordinators_agree_again_when_the_file_was_deleted(make, tmp_path):
    """Claims in a deleted file would protect nothing."""
    first, second = make(), make()
    assert first.should_run("k:1", 30)
    assert not second.should_run("k:1", 30)
    for path in tmp_path.iterdir():
        path.unlink()
    assert second.should_run("k:2", 30)
    assert not first.should_run("k:2", 30)
    assert read_keys(tmp_path / "claims.db") == ["k:2"]


def test_close_may_be_repeated_and_followed_by_questions(make, tmp_path):
    """The scheduler closes it; another task may still ask."""
    coordinator = make()
    coordinator.close()
    coordinator.close()
    assert coordinator.should_run(KEY, 30)
    coordinator.close()
    assert not coordinator.should_run(KEY, 30)


def test_a_dropped_coordinator_closes_its_file(tmp_path):
    """No descriptor is left once nothing refers to it."""
    before = count_descriptors()
    coordinator = SQLiteRunCoordinator(tmp_path / "claims.db")
    coordinator.should_run(KEY, 30)
    assert count_descriptors() != before
    del coordinator
    assert count_descriptors() == before


def test_a_pickled_coordinator_is_another_one_of_the_same_file(tmp_path):
    """It may be sent to another process; its claims remain its own."""
    first = SQLiteRunCoordinator(tmp_path / "claims.db")
    second = pickle.loads(pickle.dumps(first))
    try:
        assert second.path == first.path
        assert first.should_run(KEY, 30)
        assert not second.should_run(KEY, 30)
        assert not second.renew(KEY, 30)
    finally:
        first.close()
        second.close()


def test_a_coordinator_works_where_the_system_cannot_fork(make, monkeypatch):
    """Windows has no fork hooks, and needs none."""
    monkeypatch.delattr(os, "register_at_fork")
    assert make().should_run(KEY, 30)


# --- a file in trouble ------------------------------------------------------------


def test_a_locked_file_is_an_error_in_time_and_forgotten_later(
    make, tmp_path, monkeypatch
):
    """SQLite's own reason is reported before the election's deadline."""
    assert claimfile.BUSY_TIMEOUT < 5
    monkeypatch.setattr(claimfile, "BUSY_TIMEOUT", 0.05)
    coordinator = make()
    other = sqlite3.connect(tmp_path / "claims.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(CoordinatorError, match="database is locked") as caught:
        coordinator.should_run(KEY, 30)
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    other.execute("ROLLBACK")
    other.close()
    assert coordinator.should_run(KEY, 30)


def test_a_folder_that_vanished_is_an_error_at_the_fire(make, tmp_path):
    """The scheduler then reports a coordinator-error and does not run."""
    folder = tmp_path / "folder"
    folder.mkdir()
    coordinator = make(path=folder / "claims.db")
    assert coordinator.should_run("k:1", 30)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    with pytest.raises(CoordinatorError, match="does not exist"):
        coordinator.should_run("k:2", 30)
    folder.mkdir()
    assert coordinator.should_run("k:3", 30)


def test_holder_of_a_claim_is_named(make):
    """By process and machine; unclaimed keys have no holder."""
    first, second = make(), make()
    assert second.find_holder(KEY) is None
    assert first.should_run(KEY, 30)
    named = f"process {os.getpid()} on {platform.node()}"
    assert second.find_holder(KEY) == named


def test_threads_that_wait_for_a_locked_file_give_up_together(make, tmp_path):
    """Each within its own time: one after another would take too long."""
    coordinator = make()
    other = sqlite3.connect(tmp_path / "claims.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    errors = []

    def ask(number):
        try:
            coordinator.should_run(f"report:{number}", 30)
        except CoordinatorError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(5)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started < 2.5 * claimfile.BUSY_TIMEOUT
    other.close()
    assert ["database is locked" in error for error in errors] == [True] * 5
