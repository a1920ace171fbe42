"""Claims in an SQLite file with forks, spawned processes and other users (D2)."""

import multiprocessing
import os
import sqlite3
import threading
from pathlib import Path

import pytest

from ipycron.coordinate import SQLiteRunCoordinator
from ipycron.coordinate.claimfile import ClaimFile
from ipycron.errors import CoordinatorError

NOBODY = 65534
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def coordinator(tmp_path):
    """A coordinator with a new file."""
    coordinator = SQLiteRunCoordinator(tmp_path / "claims.db")
    yield coordinator
    coordinator.close()


def run_in_fork(function):
    """Return what `function` returns in a forked child."""
    receiver, sender = FORK.Pipe(duplex=False)
    child = FORK.Process(target=lambda: sender.send(function()))
    child.start()
    sender.close()
    try:
        assert receiver.poll(20), "the child said nothing"
        return receiver.recv()
    finally:
        receiver.close()
        child.join(20)
        assert child.exitcode == 0
        child.close()


def count_open_files(path):
    """Return how often this process has `path` and its companions open."""
    links = [Path(f"/proc/self/fd/{number}") for number in range(256)]
    names = [link.readlink() for link in links if link.is_symlink()]
    return sum(str(name).startswith(str(path)) for name in names)


def test_no_connection_is_shared_with_a_forked_child(coordinator):
    """Parent and child each reopen the file and see each other's claims."""
    assert coordinator.should_run("k:1", 30)
    assert count_open_files(coordinator.path) > 0

    def live():
        opened = count_open_files(coordinator.path)
        return opened, [coordinator.should_run(f"k:{n}", 30) for n in (1, 2)]

    assert run_in_fork(live) == (0, [False, True])
    assert not coordinator.should_run("k:2", 30)
    assert coordinator.should_run("k:3", 30)


def test_a_forked_copy_does_not_renew_its_parents_claim(coordinator):
    """The child is another instance: it did not win."""
    assert coordinator.should_run("k:1", 30)
    assert run_in_fork(lambda: coordinator.renew("k:1", 30)) is False
    assert coordinator.renew("k:1", 30)


def test_a_child_keeps_its_claims_when_its_parent_closes(coordinator):
    """The last connection removes the log: the child's connection must count."""
    assert coordinator.should_run("k:1", 30)
    go_on, closed = FORK.Event(), FORK.Event()

    def live():
        claimed = [coordinator.should_run("k:2", 30)]
        go_on.set()
        assert closed.wait(20)
        claimed.append(coordinator.should_run("k:3", 30))
        return claimed

    def close():
        assert go_on.wait(20)
        coordinator.close()
        closed.set()

    closing = threading.Thread(target=close)
    receiver, sender = FORK.Pipe(duplex=False)
    child = FORK.Process(target=lambda: sender.send(live()))
    child.start()
    closing.start()
    assert receiver.poll(20)
    assert receiver.recv() == [True, True]
    child.join(20)
    closing.join(20)
    other = SQLiteRunCoordinator(coordinator.path)
    assert [other.should_run(f"k:{n}", 30) for n in range(1, 5)] == [False] * 3 + [True]
    other.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_waits_for_the_claim_that_another_thread_is_making(coordinator):
    """No child starts with half a claim, or with a lock that nobody releases."""
    stop = threading.Event()
    won = []

    def claim():
        while not stop.is_set():
            key = f"thread:{len(won)}"
            won.append(coordinator.should_run(key, 30))

    thread = threading.Thread(target=claim)
    thread.start()
    try:
        for number in range(20):
            key = f"fork:{number}"
            answer = run_in_fork(lambda key=key: coordinator.should_run(key, 30))
            assert answer is True
            assert coordinator.should_run(key, 30) is False
    finally:
        stop.set()
        thread.join(20)
    assert all(won)


def test_the_hooks_of_a_fork_do_not_keep_a_dropped_coordinator(tmp_path):
    """The hooks stay until the process ends; the coordinator does not."""
    for number in range(3):
        SQLiteRunCoordinator(tmp_path / f"{number}.db").should_run("k:1", 30)
    assert count_open_files(tmp_path) == 0
    assert run_in_fork(lambda: "forked") == "forked"


def test_a_hook_that_was_registered_in_the_middle_of_a_fork_does_nothing(
    tmp_path, monkeypatch
):
    """A thread may create a coordinator between `before` and `after`."""
    hooks = {}
    monkeypatch.setattr(os, "register_at_fork", lambda **given: hooks.update(given))
    file = ClaimFile(tmp_path / "claims.db")
    hooks["after_in_parent"]()
    hooks["before"]()
    hooks["after_in_parent"]()
    assert file.change("DELETE FROM claims", {}) == 0
    file.close()


def test_a_coordinator_travels_to_a_spawned_process(coordinator):
    """By its path."""
    assert coordinator.should_run("k:1", 30)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        keys = [("k:1", 30), ("k:2", 30)]
        answers = pool.starmap(coordinator.should_run, keys, chunksize=2)
        pool.close()
        pool.join()
    assert answers == [False, True]
    assert not coordinator.should_run("k:2", 30)


def refuse_as_nobody(path):
    """Return the error when an unprivileged user creates a coordinator."""

    def make():
        if os.getuid() == 0:
            os.setuid(NOBODY)
        try:
            SQLiteRunCoordinator(path)
        except CoordinatorError as error:
            return str(error)
        return "it was made"

    return run_in_fork(make)


def open_up(folder):
    """Give other users access, from the root down to `folder`."""
    for path in (folder, *folder.parents):
        if path.stat().st_uid == os.getuid() and len(path.parts) > 2:
            path.chmod(path.stat().st_mode | 0o055)


ADVICE = (
    ". The claims need a file, in a folder that this user may write to, on a disk of "
    "this machine."
)


def test_a_read_only_folder_is_refused(tmp_path):
    """Nothing is left in it."""
    open_up(tmp_path)
    tmp_path.chmod(0o555)
    path = tmp_path / "claims.db"
    text = refuse_as_nobody(path)
    tmp_path.chmod(0o755)
    assert text.startswith(f"run coordinator: {path}: ")
    assert "Permission denied" in text
    assert text.endswith(ADVICE)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_one_may_read_only_is_refused_at_once(coordinator, tmp_path):
    """Even if the table exists and nothing would have to be written."""
    coordinator.should_run("k:1", 30)
    coordinator.close()
    open_up(tmp_path)
    tmp_path.chmod(0o777)
    coordinator.path.chmod(0o444)
    text = refuse_as_nobody(coordinator.path)
    assert text == (
        f"run coordinator: {coordinator.path}: attempt to write a readonly database"
        + ADVICE
    )


def test_a_file_that_one_may_not_open_is_refused(coordinator, tmp_path):
    """For example, another user's file."""
    open_up(tmp_path)
    tmp_path.chmod(0o777)
    coordinator.path.chmod(0)
    text = refuse_as_nobody(coordinator.path)
    assert text == (
        f"run coordinator: {coordinator.path}: unable to open database file" + ADVICE
    )


def test_a_process_killed_inside_a_transaction_leaves_a_sound_file(coordinator):
    """What it had not committed never happened, and its lock is released."""
    ready = FORK.Event()

    def die():
        connection = sqlite3.connect(coordinator.path, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO claims VALUES ('k:1', 'dead', 9e12)")
        ready.set()
        threading.Event().wait(60)

    child = FORK.Process(target=die)
    child.start()
    assert ready.wait(20)
    child.kill()
    assert coordinator.should_run("k:1", 30) is True  # or an error: it is locked
    child.join(20)
