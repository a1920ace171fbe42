"""Frames that are sent together, and those that threads send past the loop."""

import asyncio
import contextlib
import os
import resource
import socket
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from interrupts import Interrupts
from polling import eventually

from ipycron.process.wire.channel import BlockingChannel, Channel
from ipycron.process.wire.payload import INLINE_BYTES, Payload
from ipycron.process.wire.protocol import Control, Execute, FromClient

MANY = 300
SECONDS = 20


@contextlib.contextmanager
def make_edge(loop=None):
    """Yield a channel of a loop, by default the running one, and its peer."""
    ours, theirs = socket.socketpair()
    channel = Channel(
        ours,
        FromClient,
        loop=loop or asyncio.get_running_loop(),
        on_frame=lambda _: None,
        on_close=lambda _: None,
    )
    peer = BlockingChannel(theirs, FromClient)
    try:
        yield channel, peer
    finally:
        channel.close()
        peer.close()


def receive(peer, count):
    """Return the ids of the next `count` frames."""
    return [peer.receive().message.task_id for _ in range(count)]


@pytest.mark.parametrize("first", [0, SECONDS])
def test_delayed_frames_of_one_turn_leave_in_one_write(first):
    """In order, together with an urgent frame."""

    async def tell():
        with make_edge() as (channel, peer):
            for number, delay in enumerate([first, 0, SECONDS]):
                channel.send_within(delay, Execute(f"task-{number}", "r"))
            with pytest.raises(BlockingIOError):
                peer._sock.recv(1, socket.MSG_DONTWAIT)
            await asyncio.sleep(0.05)
            return [frame.message.task_id for frame in peer.receive_ready()]

    assert asyncio.run(tell()) == ["task-0", "task-1", "task-2"]


def test_nothing_overtakes_delayed_frames():
    """Neither urgent nor large frames, nor those with a descriptor."""

    async def tell():
        with make_edge() as (channel, peer):
            channel.send_within(SECONDS, Execute("task-0", "r"))
            channel.send(Execute("task-1", "r"))
            channel.send_within(SECONDS, Execute("task-2", "r"))
            channel.send_within(SECONDS, Execute("task-3", "r"), Payload(bytes(64_000)))
            channel.send_within(SECONDS, Execute("task-4", "r"), Payload(bytes(9_000)))
            with tempfile.TemporaryFile() as file:
                payload = Payload(fd=os.dup(file.fileno()))
                channel.send_within(SECONDS, Execute("task-5", "r"), payload)
            received = asyncio.to_thread(receive, peer, 6)
            return await asyncio.wait_for(received, SECONDS)

    assert asyncio.run(tell()) == [f"task-{number}" for number in range(6)]


def test_delayed_frames_count_as_backlog():
    """They count as backlog, so that a flood is noticed."""

    async def tell():
        with make_edge() as (channel, _):
            for number in range(100):
                news = Execute(f"task-{number}", "r")
                channel.send_within(SECONDS, news, Payload(bytes(10_000)))
            return channel.backlog

    assert asyncio.run(tell()) > 100_000


def test_frames_of_threads_and_of_the_loop_arrive_whole():
    """However threads and the loop compete, each frame arrives once, intact."""

    async def compete():
        with make_edge() as (channel, peer):
            received = asyncio.create_task(asyncio.to_thread(receive, peer, 4 * MANY))

            def send(name):
                for number in range(MANY):
                    run = Execute(f"{name}-{number}", "x" * 500)
                    while not channel.send_at_once(run):
                        threading.Event().wait(0.001)

            threads = [asyncio.to_thread(send, f"thread-{n}") for n in range(3)]
            sending = asyncio.gather(*threads)
            for number in range(MANY):
                channel.send(Execute(f"loop-{number}", "y" * 500))
                await asyncio.sleep(0)
            await sending
            return await asyncio.wait_for(received, SECONDS)

    ids = asyncio.run(compete())
    for name in ("thread-0", "thread-1", "thread-2", "loop"):
        own = [i for i in ids if i.startswith(name)]
        assert own == [f"{name}-{number}" for number in range(MANY)]


def test_nothing_overtakes_what_waits_for_the_peer():
    """A thread's frame is refused while earlier frames wait to be sent."""

    async def fill():
        with make_edge() as (channel, peer):
            count = 0
            while not channel.backlog:
                channel.send(Control(count, f"task-{count}", "stop"))
                count += 1
            sent = await asyncio.to_thread(channel.send_at_once, Execute("late", "r"))
            assert not sent
            received = asyncio.create_task(asyncio.to_thread(receive, peer, count))
            return await asyncio.wait_for(received, SECONDS), count

    ids, count = asyncio.run(fill())
    assert ids == [f"task-{number}" for number in range(count)]


def test_nothing_is_sent_when_the_channel_is_closed():
    """A closed channel refuses; the loop handles it instead."""

    async def close():
        with make_edge() as (channel, _):
            channel.close()
            return channel.send_at_once(Execute("t", "r"))

    assert asyncio.run(close()) is False


def test_handler_leaves_its_frame_to_the_loop():
    """A signal may interrupt a write: its frame waits, its thread does not."""

    async def compete():
        with make_edge() as (channel, peer):
            with channel._lock:
                channel._is_writing = True
                assert not channel.send_at_once(Execute("a", "r"))
                channel.send(Execute("b", "r"))
                channel._is_writing = False
            received = asyncio.to_thread(receive, peer, 1)
            return await asyncio.wait_for(received, SECONDS)

    assert asyncio.run(compete()) == ["b"]


def test_interrupted_sends_block_no_others():
    """Ctrl-C may come at any line; later frames are sent, intact."""
    with (
        running_loop() as loop,
        make_edge(loop) as (channel, peer),
        ThreadPoolExecutor(1) as pool,
    ):
        received = pool.submit(receive_until, peer, "last")
        with Interrupts(seed=3, longest=0.0001) as interrupts:
            # On a busy machine few of the interrupts find a send under way.
            for number in count():
                if number >= 4000 and interrupts.count > 10:
                    break
                with contextlib.suppress(KeyboardInterrupt):
                    interrupts.may_come = True
                    channel.send_at_once(Execute(f"task-{number}", "r"))
                    interrupts.may_come = False
        # Refused while the loop writes the rest of a frame that was interrupted.
        last = Execute("last", "r")
        eventually(lambda: channel.send_at_once(last), "the last frame is sent")
        ids = received.result(SECONDS)
    assert interrupts.count > 10
    assert len(ids) == len(set(ids))
    assert ids == sorted(ids, key=find_number)


def find_number(task_id):
    """Return the number in an id; the last id has none."""
    return int(task_id.partition("-")[2] or MANY**2)


def receive_until(peer, last):
    """Return the ids of all frames up to a given one."""
    ids = []
    while not ids or ids[-1] != last:
        ids += receive(peer, 1)
    return ids


@contextlib.contextmanager
def running_loop():
    """Yield a loop that runs in its own thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.mark.parametrize("is_delayed", [False, True])
def test_large_payload_in_memory_is_sent_as_a_descriptor(is_delayed):
    """Such as one that was received, moved into memory and passed on."""
    data = b"large" * INLINE_BYTES

    async def tell():
        with make_edge() as (channel, peer):
            message, payload = Execute("task", "r"), Payload(data)
            if is_delayed:
                channel.send_within(0, message, payload)
            else:
                channel.send(message, payload)
            arrived = peer.receive()
            peer.send(message, Payload(data))
            channel.pause()
            back = BlockingChannel(channel._sock.dup(), FromClient)
            back._sock.setblocking(True)
            returned = back.receive()
            back.close()
            return bytes(arrived.payload.open()), bytes(returned.payload.open())

    assert asyncio.run(tell()) == (data, data)


def test_large_payload_is_sent_though_no_descriptor_is_left():
    """The reserve has one for it."""
    data = b"large" * INLINE_BYTES

    async def tell():
        with make_edge() as (channel, peer):
            before = resource.getrlimit(resource.RLIMIT_NOFILE)
            probe = os.open(os.devnull, os.O_RDONLY)
            os.close(probe)
            resource.setrlimit(resource.RLIMIT_NOFILE, (probe, before[1]))
            try:
                with pytest.raises(OSError, match="Too many open files"):
                    os.open(os.devnull, os.O_RDONLY)
                channel.send(Execute("task", "r"), Payload(data))
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
            return bytes(peer.receive().payload.open())

    assert asyncio.run(tell()) == data
