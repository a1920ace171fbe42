"""What a job sends is plain data, except its result; and who may send that."""

import fcntl
import logging
import mmap
import os
import subprocess
import threading

import pytest
from house import NEVER
from polling import eventually

import ipycron
from ipycron.process.posix import has_changed_user
from ipycron.process.wire.outcome import Unserializable
from ipycron.process.wire.payload import INLINE_BYTES, Payload, pack, pack_data

FORGE = """
import os, pickle, struct
from ipycron.process.wire import frames, payload, protocol

class Trap:
    def __reduce__(self):
        return open, ({beacon!r}, "w")

def find_socket():
    import socket, stat
    for fd in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                return socket.socket(fileno=os.dup(fd))
        except OSError:
            pass

def forge(kind, ctx):
    message = getattr(protocol, kind)(ctx.task.id, ctx.execution.id)
    body = payload.pack_pickle(pickle.dumps(Trap()), [])
    data, _ = frames.encode_frame(message, body, ())
    with find_socket() as sock:
        sock.sendall(data)
"""


@pytest.mark.parametrize("kind", ["Logged", "Displayed"])
def test_forged_record_or_display_runs_no_code(write, tmp_path, kind):
    """They are plain data; invalid ones are ignored or shown as invalid."""
    beacon = tmp_path / "beacon"
    source = FORGE.replace("{beacon!r}", repr(str(beacon)))
    path = write(f"{source}\ndef task(ctx):\n    forge({kind!r}, ctx)\n    return 7\n")
    task = ipycron.create_task(NEVER, path)
    task.start().result(20)
    assert task.execute().result(20) == 7
    assert task.execute().result(20) == 7
    for display in task.last_run.output.displays:
        assert "cannot be read" in display.data["text/plain"]
    assert not beacon.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its user")
@pytest.mark.parametrize("calls", [1, 4])
@pytest.mark.parametrize("size", [1, 200_000])
def test_result_of_a_job_that_changed_its_user_runs_no_code(
    write, tmp_path, calls, size
):
    """Numbers pass; objects arrive as a description with the reason."""
    beacon = tmp_path / "beacon"
    tmp_path.chmod(0o777)
    path = write(f"""
        import os
        class Trap:
            def __init__(self):
                self.data = b"x" * {size}
            def __reduce__(self):
                return open, ({str(beacon)!r}, "w"), None
        count = 0
        def task():
            global count
            count += 1
            if count == {calls}:
                os.setresuid(65534, 65534, 65534)
                return [Trap(), b"x" * {size}]
            return count
    """)
    task = ipycron.create_task(NEVER, path)
    task.start().result(20)
    for number in range(1, calls):
        assert task.execute().result(20) == number
    result = task.execute().result(20)
    assert isinstance(result, Unserializable)
    assert "changed its user" in result.reason
    assert not beacon.exists()
    assert task.execute().result(20) == calls + 1


def test_large_payload_is_sealed():
    """No process can shrink or change it while another has it mapped."""
    payload = pack([b"x" * (INLINE_BYTES + 1)])
    for change in (
        lambda: os.ftruncate(payload.fd, 0),
        lambda: os.pwrite(payload.fd, b"y", 0),
        lambda: mmap.mmap(payload.fd, payload.size, flags=mmap.MAP_SHARED),
        lambda: fcntl.fcntl(payload.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW),
    ):
        with pytest.raises(OSError, match="not permitted"):
            change()
    assert bytes(payload.open()) == b"x" * (INLINE_BYTES + 1)


def test_payload_without_seals_is_copied():
    """A job that sends its own file cannot change it later."""
    fd = os.memfd_create("job")
    os.write(fd, b"x" * 100_000)
    payload = Payload(fd=fd)
    view = payload.open()
    os.ftruncate(fd, 0)
    assert bytes(view) == b"x" * 100_000


@pytest.mark.parametrize(
    "value", ["caf\udce9", 1 << 80, float("nan"), {"a\ud800": ["b\ud800", -(1 << 70)]}]
)
def test_data_that_no_message_holds_becomes_text(value):
    """A log record with an unusual attribute arrives nevertheless."""
    assert pack_data({"value": value}).size


def test_record_keeps_its_attributes(write, caplog):
    """Those of plain types; others as text."""
    path = write("""
        import logging
        def task():
            extra = {"odd": "caf\\udce9", "large": 1 << 80, "object": task}
            logging.getLogger("job").warning("hello %s", "there", extra=extra)
    """)
    task = ipycron.create_task(NEVER, path)
    task.start().result(20)
    with caplog.at_level(logging.WARNING, "job"):
        task.execute().result(20)
        (record,) = eventually(lambda: caplog.records, "a record")
    assert record.getMessage() == "hello there"
    assert record.large == str(1 << 80)
    assert record.object.startswith("<function")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's children change their user")
def test_process_that_goes_has_not_changed_its_user():
    """Nor at the moment when its status can be opened but not read."""
    answers = set()
    for _ in range(200):
        child = subprocess.Popen(["true"])
        gone = threading.Event()
        ending = threading.Thread(target=lambda c=child, g=gone: (c.wait(), g.set()))
        ending.start()
        while not gone.is_set():
            answers.add(has_changed_user(child.pid))
        ending.join()
    assert answers == {False}
