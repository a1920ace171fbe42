"""Descriptors used up in each of the processes: nothing stops or is lost."""

import asyncio
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from house import NEVER, Record
from shortage import count_descriptors, limited_descriptors, no_descriptors
from trouble import get_supervisor, get_zygote

import ipycron
from ipycron.errors import StartRefused
from ipycron.process.refusal import DescriptorReserve
from ipycron.process.wire.channel import BlockingChannel, Channel
from ipycron.process.wire.outcome import Unserializable, decode_result, encode_result
from ipycron.process.wire.protocol import Execute, FromClient

LARGE = b"x" * 200_000


def exchange(before=lambda: None):
    """Send one large payload and a small one while there are no descriptors.

    Returns:
        What the results are decoded to, and what the channel was closed with.
    """
    frames, ends = [], []

    async def receive():
        ours, theirs = socket.socketpair()
        channel = Channel(
            ours,
            FromClient,
            loop=asyncio.get_running_loop(),
            on_frame=frames.append,
            on_close=ends.append,
            keeps_payloads=True,
        )
        peer = BlockingChannel(theirs, FromClient)
        for number, value in enumerate((LARGE, 1)):
            payload, _ = encode_result(value, 1 << 20)
            peer.send(Execute(f"task-{number}", "r"), payload)
            payload.close()
        with no_descriptors():
            before()
            channel.drain()
            values = [decode_result(frame.payload) for frame in frames]
        channel.close()
        peer.close()
        return values

    return asyncio.run(receive()), ends


def test_payload_arrives_when_no_descriptor_is_left():
    """The reserve is used, and the bytes move into memory."""
    assert exchange() == ([LARGE, 1], [])


def test_lost_payload_is_a_stand_in_when_there_is_no_reserve(monkeypatch):
    """It has advice; the peer is not blamed, and the next message arrives."""
    monkeypatch.setattr("ipycron.process.wire.channel.reserve", DescriptorReserve(0))
    monkeypatch.setattr("ipycron.process.wire.frames.reserve", DescriptorReserve(0))
    (lost, small), ends = exchange()
    assert isinstance(lost, Unserializable)
    assert "Too many open files" in lost.reason
    assert "ulimit -n" in lost.reason
    assert (small, ends) == (1, [])


def test_reserve_is_given_back_when_the_last_channel_closes():
    """Without channels, no descriptors are held."""
    before, _ = count_descriptors()
    exchange()
    assert count_descriptors()[0] == before


CLIENT = """
import sys
sys.path.insert(0, {support!r})
import ipycron
from shortage import no_descriptors
from polling import eventually
from IPython.display import display

def large():
    return b"x" * 200_000

seen = []
tasks = [
    ipycron.schedule("* * * * * *", work, background=True, name=work.__name__)
    for work in (large, lambda: 1)
]
for task in tasks:
    task.start().result(20)
    task.on("*", lambda context: seen.append(context.event))
    task.on("execution:finished", lambda c: seen.append(len(str(c.execution.result))))
eventually(lambda: seen.count(200_003) and seen.count(1), "runs")
with no_descriptors():
    seen.clear()
    enough = lambda: seen.count(200_003) > 1 and seen.count(1) > 1
    eventually(enough, "runs in need")
seen.clear()
eventually(lambda: seen.count(200_003) and seen.count(1), "runs after it")
print(*[str(task.status) for task in tasks])
print({{event for event in seen if str(event).startswith("task:")}} or "quiet")
ipycron.shutdown()
"""


def test_tasks_go_on_when_the_client_has_no_descriptors(tmp_path):
    """Results of any size still arrive complete."""
    program = tmp_path / "client.py"
    support = Path(__file__).parents[1] / "support"
    program.write_text(textwrap.dedent(CLIENT.format(support=str(support))))
    done = subprocess.run(
        [sys.executable, program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    statuses, heard = done.stdout.splitlines() or (done.stderr, "")
    assert {*statuses.split()} <= {"idle", "running"}, done
    assert heard == "quiet"


@pytest.mark.parametrize("size", [1, 200_000])
def test_result_arrives_when_the_supervisor_has_no_descriptors(write, size):
    """It passes through, thanks to the reserve."""
    path = write(f"def task(): return b'x' * {size}")
    task = ipycron.create_task(NEVER, path)
    task.start().result(20)
    with limited_descriptors(get_supervisor()):
        for _ in range(4):  # the third call would be made past the supervisor
            assert len(task.execute().result(20)) == size


@pytest.mark.parametrize("who", [get_supervisor, get_zygote])
def test_start_says_what_to_do_when_it_is_refused_descriptors(write, who):
    """It names the task; the next start succeeds, other tasks continue."""
    path = write("def task(): return 1")
    first, second = (ipycron.create_task(NEVER, path, name=n) for n in ("one", "two"))
    events = Record(first)
    first.start().result(20)
    with limited_descriptors(who()):
        with pytest.raises(StartRefused, match=r"'two'.*Too many open.*ulimit -n"):
            second.start().result(20)
        assert first.execute().result(20) == 1
    second.start().result(20)
    assert second.execute().result(20) == 1
    events.wait("execution:finished")
    assert not events.count("task:restarted")


def test_calls_go_on_when_the_worker_has_no_descriptors(write):
    """A direct connection needs two, and is not opened without them."""
    path = write("""
        import os, resource
        held = []
        def task():
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (20, hard))
            try:
                while True:
                    held.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                return os.getpid()
    """)
    task = ipycron.create_task(NEVER, path)
    task.start().result(20)
    assert len({task.execute().result(20) for _ in range(6)}) == 1
