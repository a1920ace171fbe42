"""No port, no file readable by others, no name that others could guess."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path

import psutil
import pytest
from house import NEVER
from scores import score_test
from trouble import get_supervisor, get_zygote

import ipycron
from ipycron.client.jobs import Cell
from ipycron.client.registry import registry
from ipycron.process.wire.payload import INLINE_BYTES, Payload
from ipycron.process.wire.protocol import Preload

TABLE = "what others could reach"
WORDS = "a secret that is written nowhere"


@pytest.fixture(autouse=True)
def row(request):
    """Count each test in the table."""
    score_test(request, TABLE, request.node.originalname.removeprefix("test_"))


@pytest.fixture
def family(write):
    """Start a worker of each kind; return this process and all those below it."""
    registry.client.warm(Preload((), shell=True))
    path = write("def task(): return 1")
    jobs = [
        (path, {}),
        (path, {"launcher": "spawn"}),
        (Cell(source="1 + 1", filename="<cell>", payload=Payload()), {}),
        (lambda: WORDS, {"background": True}),
    ]
    for job, options in jobs:
        task = ipycron.create_task(NEVER, job, start_timeout=30, **options)
        task.start().result(30)
        task.execute().result(30)
    inline = ipycron.create_task(NEVER, lambda: 2)
    inline.start().result(20)
    inline.execute().result(20)
    # Not all of our children: there may be a Redis server of other tests among them.
    supervisor = psutil.Process(get_supervisor())
    return [psutil.Process(), supervisor, *supervisor.children(recursive=True)]


def test_no_process_listens(family):
    """All connections are inherited, unnamed socket pairs."""
    assert len(family) >= 1 + 2 + 4  # we, supervisor and zygote, four workers
    for process in family[1:]:
        assert process.net_connections("inet") == []
        for connection in process.net_connections("unix"):
            assert connection.laddr in ("", None), connection
            assert connection.status == psutil.CONN_NONE
    listening = [c for c in psutil.net_connections("inet") if c.status == "LISTEN"]
    assert not {c.pid for c in listening} & {p.pid for p in family[1:]}


def test_no_process_inherits_what_is_not_its_own(family):
    """The client's sockets and files are open nowhere else."""
    with tempfile.TemporaryFile() as file:
        mine = os.fstat(file.fileno()).st_ino
        for process in family[1:]:
            for path in Path(f"/proc/{process.pid}/fd").iterdir():
                # A process that has just had a run may close some of its own.
                with contextlib.suppress(FileNotFoundError):
                    assert path.stat().st_ino != mine


def test_payloads_have_no_name_on_the_disk(write, tmp_path, monkeypatch):
    """Captured values and results, however large, are in memory."""
    spot = tmp_path / "temporary"
    spot.mkdir()
    monkeypatch.setenv("TMPDIR", str(spot))
    monkeypatch.setattr(tempfile, "tempdir", str(spot))
    secret = WORDS * (INLINE_BYTES // 10)
    before = set(tmp_path.rglob("*"))
    task = ipycron.create_task(NEVER, lambda: secret, background=True)
    task.start().result(20)
    assert task.execute().result(20) == secret
    for pid in (os.getpid(), get_supervisor(), get_zygote()):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # that of the listing itself
                assert spot not in path.readlink().parents
    task.stop().result(20)
    assert set(tmp_path.rglob("*")) - before == set()


def test_payloads_are_nameless_files_where_there_is_no_memory_file(
    tmp_path, monkeypatch
):
    """Without memfd: a file readable only by us, unlinked at once."""
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    from ipycron.process.wire.payload import pack  # noqa: PLC0415 - beside its test

    payload = pack([bytes(INLINE_BYTES), b"more"])
    facts = os.fstat(payload.fd)
    assert facts.st_nlink == 0
    assert stat.S_IMODE(facts.st_mode) == 0o600
    assert list(tmp_path.iterdir()) == []
    assert bytes(payload.open()[-4:]) == b"more"
    payload.close()


def test_command_lines_tell_nothing(family):
    """Names, code and values are sent by sockets: `ps` shows none of them."""
    for process in family[1:]:
        if process.is_running():
            text = " ".join(process.cmdline())
            assert WORDS not in text
            assert "1 + 1" not in text
