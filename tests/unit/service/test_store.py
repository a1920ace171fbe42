"""The store of kept tasks: whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
import subprocess
import sys

import msgspec
import pytest
from kept_service import declare_file

from ipycron.errors import ServiceError
from ipycron.process.service.paths import VARIABLE, find_places
from ipycron.process.wire.payload import INLINE_BYTES, Payload, make_lost, pack
from ipycron.scheduling.events import Pause
from ipycron.service.store import VERSION, KeptState, Store, explain


@pytest.fixture
def places(tmp_path):
    """The files of a service in a folder of the test."""
    return find_places({VARIABLE: str(tmp_path / "service")})


@pytest.fixture
def store(places):
    """An open store."""
    with contextlib.closing(Store(places)) as opened:
        yield opened


def declare(name="report", **options):
    """Return the declaration of a task."""
    return declare_file("/job.py", name, "0 6 * * *", **options)


def test_tasks_come_back_as_they_were(store, places):
    """With state, payload and order, after the store was closed."""
    first, second = declare("a", max_executions=3), declare("b")
    name = store.add_payload(Payload(b"variables"))
    state = KeptState(
        is_started=False,
        pause=Pause(since=1.0, until=9, note="holiday"),
        runs_left=2,
        extra={"incidents": {"ValueError": 3}},
    )
    store.put(first, name, state)
    store.put(second, None, KeptState())
    store.close()
    with contextlib.closing(Store(places)) as again:
        found = again.load()
        assert [task.declaration for task in found] == [first, second]
        assert [task.state for task in found] == [state, KeptState()]
        assert bytes(again.read_payload(found[0].payload).open()) == b"variables"
        assert again.read_payload(found[1].payload).size == 0


def test_name_is_kept_once(store):
    """A task takes the place of the one with its name."""
    store.put(declare(), None, KeptState())
    newer = declare()
    store.put(newer, None, KeptState())
    assert [task.id for task in store.load()] == [newer.register.task_id]


def test_state_and_schedule_are_changed_in_place(store):
    """Of the task that is there; one that is gone stays gone."""
    task = declare()
    store.put(task, None, KeptState())
    task_id = task.register.task_id
    store.save({task_id: KeptState(runs_left=1), "gone": KeptState()})
    changed = declare_file("/job.py", "report", "0 7 * * *").register
    assert store.find(task_id).state.runs_left == 1
    assert store.find("gone") is None
    store.remove(task_id)
    store.remove(task_id)
    assert not store.load()
    assert changed.pattern == "0 7 * * *"


def test_files_are_this_users_only(store, places):
    """They hold environments and variables."""
    store.add_payload(Payload(b"x"))
    store.put(declare(), None, KeptState())
    for path in (places.folder, places.payloads):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    files = [p for p in places.folder.rglob("*") if p.is_file()]
    assert len(files) >= 2
    assert {stat.S_IMODE(p.stat().st_mode) for p in files} == {0o600}


def test_open_file_is_closed_to_others(places):
    """Also one that was open to them."""
    Store(places).close()
    places.store.chmod(0o644)
    Store(places).close()
    assert stat.S_IMODE(places.store.stat().st_mode) == 0o600


@pytest.mark.parametrize("size", [1, INLINE_BYTES, INLINE_BYTES + 1, 3 << 20])
def test_payloads_of_all_sizes_come_back(store, size):
    """Large ones as a descriptor, which costs no memory; equal ones are kept once."""
    data = os.urandom(size)
    name = store.add_payload(pack([data]))
    assert store.add_payload(pack([data])) == name
    payload = store.read_payload(name)
    assert bytes(payload.open()) == data
    assert (payload.fd is not None) == (size > INLINE_BYTES)


def test_damaged_payload_is_refused(store, places):
    """It would be unpickled."""
    name = store.add_payload(Payload(b"variables"))
    (places.payloads / name).write_bytes(b"something else")
    with pytest.raises(ServiceError, match=r"was changed or is damaged\. Declare"):
        store.read_payload(name)
    (places.payloads / name).unlink()
    with pytest.raises(ServiceError, match=r"No such file .* declare the task again"):
        store.read_payload(name)


def test_payload_goes_with_its_last_task(store, places):
    """It holds variables, and is of no use: after a replacement and a removal, too."""

    def keep(declaration, data):
        name = store.add_payload(Payload(data))
        store.put(declaration, name, KeptState())
        store.release_payload(name)

    def read():
        return sorted(path.read_bytes() for path in places.payloads.iterdir())

    first, second, newer = declare("a"), declare("b"), declare("b")
    keep(first, b"same")
    keep(second, b"same")
    keep(newer, b"newer")
    assert read() == [b"newer", b"same"]
    store.remove(first.register.task_id)
    assert read() == [b"newer"]
    # Another declaration has added the same just now; it fails, and this one goes.
    name = store.add_payload(Payload(b"newer"))
    store.remove(newer.register.task_id)
    assert read() == [b"newer"]
    store.release_payload(name)
    assert read() == []
    store.release_payload(store.add_payload(Payload()))
    store.remove(newer.register.task_id)


def test_removed_task_is_not_in_the_file(store, places):
    """Its environment may hold secrets: its pages are overwritten."""
    declaration = declare("a")
    secret = b"secret of the test"
    setting = msgspec.structs.replace(
        declaration.register.setting, env={b"TOKEN": secret}
    )
    register = msgspec.structs.replace(declaration.register, setting=setting)
    declaration = msgspec.structs.replace(declaration, register=register)
    store.put(declaration, None, KeptState())
    store.close()
    assert secret in places.store.read_bytes()
    with contextlib.closing(Store(places)) as again:
        again.remove(register.task_id)
    assert secret not in places.store.read_bytes()


def test_unused_payloads_are_collected(store, places):
    """Those of a declaration that was killed."""
    used, unused = (store.add_payload(Payload(data)) for data in (b"a", b"b"))
    (places.payloads / "draft-1").write_text("half")
    store.put(declare(), used, KeptState())
    store.collect()
    assert [p.name for p in places.payloads.iterdir()] == [used]
    assert unused != used


def test_what_cannot_be_removed_keeps_no_service_from_starting(store, places):
    """A network file system has files that it does not let go."""
    (places.payloads / "a folder").mkdir()
    unused = store.add_payload(Payload(b"unused"))
    store.collect()
    assert not (places.payloads / unused).exists()


def test_payload_that_was_lost_on_its_way_is_refused(store, places):
    """The service had no descriptor left for it: nothing is kept in its place."""
    with pytest.raises(ServiceError, match="were lost: no descriptor was left"):
        store.add_payload(make_lost("no descriptor was left"))
    assert not list(places.payloads.iterdir())


def test_payloads_of_the_past_are_not_remembered(store):
    """A task may be declared again every minute, for years."""
    for number in range(100):
        store.release_payload(store.add_payload(Payload(b"%d" % number)))
        store.release_payload(store.add_payload(Payload()))
    assert not store._added


def test_store_without_its_tables_says_so(store, places):
    """Whatever is asked of it."""
    with contextlib.closing(sqlite3.connect(places.store)) as connection:
        connection.execute("DROP TABLE marks")
    with pytest.raises(ServiceError, match="no such table: marks"):
        store.read_mark("ended")


def test_newer_store_is_left_as_it_is(places):
    """It may mean something else by the same names."""
    Store(places).close()
    with contextlib.closing(sqlite3.connect(places.store)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
        connection.commit()
    before = places.store.read_bytes()
    with pytest.raises(ServiceError, match=f"newer ipycron .schema {VERSION + 1}, "):
        Store(places)
    assert places.store.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"not a database" * 100, b"SQLite format 3\0" * 64]
)
def test_damaged_store_is_left_as_it_is(places, content):
    """Nothing in it is thrown away; the error says what can be done."""
    Store(places).close()
    places.store.write_bytes(content)
    with pytest.raises(ServiceError, match="damaged, and is left as it is: restore it"):
        Store(places)
    assert places.store.read_bytes() == content


def test_database_of_another_program_is_refused(places):
    """Whatever its version."""
    Store(places).close()
    places.store.unlink()
    with contextlib.closing(sqlite3.connect(places.store)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
        connection.commit()
    with pytest.raises(ServiceError, match="database of another program"):
        Store(places)


def test_row_of_another_version_fails_alone(store, places):
    """Its name and the reason are known; the other tasks are loaded."""
    good, bad = declare("good"), declare("bad")
    store.put(bad, None, KeptState())
    store.put(good, None, KeptState())
    with contextlib.closing(sqlite3.connect(places.store)) as connection:
        query = "UPDATE tasks SET declaration = ? WHERE name = 'bad'"
        connection.execute(query, (b"\x81\xa1x\x01",))
        connection.commit()
    first, second = store.load()
    assert (first.name, first.declaration) == ("bad", None)
    assert "another version of ipycron" in first.error
    assert second.declaration == good


def test_deleted_store_is_written_again(store, places):
    """The tasks are still there in the open file; they move to a new one."""
    old, new = declare("old"), declare("new")
    store.put(old, None, KeptState())
    places.store.unlink()
    store.put(new, None, KeptState())
    with contextlib.closing(Store(places)) as again:
        assert [task.name for task in again.load()] == ["old", "new"]
    assert stat.S_IMODE(places.store.stat().st_mode) == 0o600


def test_replaced_store_is_not_written_to(store, places):
    """It is somebody else's, whatever it is."""
    places.store.rename(places.folder / "moved")
    places.store.write_text("mine")
    with pytest.raises(ServiceError, match="replaced by another file"):
        store.put(declare(), None, KeptState())
    assert places.store.read_text() == "mine"


def test_failed_replacement_leaves_the_old_task(store):
    """Half of a transaction is none."""
    old = declare()
    store.put(old, None, KeptState())
    store._connection.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON tasks BEGIN "
        "SELECT RAISE(ABORT, 'refused'); END"
    )
    with pytest.raises(ServiceError, match="refused"):
        store.put(declare(), None, KeptState())
    assert [task.id for task in store.load()] == [old.register.task_id]


FULL = """
import resource, signal, sys
from kept_service import declare_file
from ipycron.errors import ServiceError
from ipycron.process.service.paths import find_places
from ipycron.process.wire.payload import Payload
from ipycron.service.store import KeptState, Store

store = Store(find_places({"IPYCRON_SERVICE_DIR": sys.argv[1]}))
store.put(declare_file("/job.py", "old"), None, KeptState())
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for attempt in (
    lambda: store.add_payload(Payload(b"x" * 200_000)),
    lambda: store.put(declare_file("/" + "x" * 200_000, "old"), None, KeptState()),
):
    try:
        attempt()
    except ServiceError as error:
        print(error)
    else:
        print("kept")
"""


def test_full_disk_is_an_error_and_changes_nothing(places):
    """Neither for a payload nor for a task; here a limit of the size of files."""
    places.folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(places.folder)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": "tests/support"},
        timeout=60,
    )
    assert done.stdout.count("service of kept tasks: ") == 2, done.stdout
    assert "full: free some space" in done.stdout
    with contextlib.closing(Store(places)) as store:
        (kept,) = store.load()
        assert kept.declaration.register.job.path == b"/job.py"
        assert not list(places.payloads.iterdir())


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "free some space"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "free some space"),
        (OSError(errno.EROFS, "Read-only file system"), "may write to"),
        (OSError(errno.EIO, "Input/output error"), "Check the folder and its disk"),
    ],
)
def test_errors_say_what_to_do(places, error, advice):
    """With the file, the system's words and the way out."""
    text = str(explain(places.store, error))
    assert str(places.store) in text
    assert error.strerror in text
    assert advice in text


def test_marks_stay(store):
    """A service that is killed before it has made up for a gap leaves it to another."""
    assert store.read_mark("ended") is None
    store.put_mark("ended", 5.5)
    store.put_mark("ended", 6.5)
    assert [store.read_mark("ended") for _ in range(2)] == [6.5, 6.5]


def test_limits_of_pools_are_kept(store):
    """Also that of tasks without a pool, until it is lifted."""
    store.put_pool("gpu", 1)
    store.put_pool(None, 8)
    store.put_pool("gpu", 2)
    assert store.read_pools() == {"gpu": 2, None: 8}
    store.put_pool("gpu", None)
    assert store.read_pools() == {None: 8}
