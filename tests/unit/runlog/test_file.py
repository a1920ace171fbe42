"""Whose the file is, also while it is being written, or cut."""

from __future__ import annotations

import threading

from history_rows import BEGAN, make_run, make_task, write

from ipycron.runlog.file import check_program
from ipycron.runlog.store import open_store


def test_file_is_ours_at_any_moment_of_a_write(tmp_path):
    """A log that is being taken into the file is no reason to refuse it."""
    path = write(tmp_path / "history.sqlite", make_task())
    ended = threading.Event()

    def write_on():
        store = open_store(path, now=BEGAN, tell=print)
        for number in range(0, 3000, 20):
            output = "x" * 2000
            store.apply([make_run(number + n, output=output) for n in range(20)])
        store.close()
        ended.set()

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        while not ended.is_set():
            check_program(path)
    finally:
        writer.join()


def test_file_of_ours_that_was_cut_is_set_aside(tmp_path):
    """As after a power failure; not taken for another program's and left for ever."""
    path = tmp_path / "history.sqlite"
    write(path, make_task(), *(make_run(n, output="x" * 3000) for n in range(50)))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 8192 * 4096)
    told = []
    store = open_store(path, now=BEGAN, tell=told.append)
    store.close()
    assert "was damaged" in told[0]
    assert len(list(tmp_path.glob("*.corrupt-*"))) == 1
