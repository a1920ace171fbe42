"""Frames that other threads send past the loop: whole, in order, never waiting."""

import asyncio
import contextlib
import socket
import threading

from ipycron.process.channel import BlockingChannel, Channel
from ipycron.process.protocol import Control, Execute, FromClient

MANY = 300
SECONDS = 20


@contextlib.contextmanager
def make_edge():
    """Yield a channel of the running loop, and its peer."""
    ours, theirs = socket.socketpair()
    channel = Channel(
        ours,
        FromClient,
        loop=asyncio.get_running_loop(),
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


def test_frames_of_threads_and_of_the_loop_arrive_whole():
    """However threads and the loop compete, each frame arrives once and unbroken."""

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
    """A frame of a thread is refused while frames before it wait to be sent."""

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
    """A closed channel refuses: the loop knows what to do instead."""

    async def close():
        with make_edge() as (channel, _):
            channel.close()
            return channel.send_at_once(Execute("t", "r"))

    assert asyncio.run(close()) is False


def test_nobody_waits_for_the_lock():
    """A frame is left to the loop while another thread writes, as from a signal."""

    async def compete():
        with make_edge() as (channel, peer), channel._lock:
            assert not channel.send_at_once(Execute("a", "r"))
            channel.send(Execute("b", "r"))
            channel._lock.release()
            try:
                received = asyncio.to_thread(receive, peer, 1)
                return await asyncio.wait_for(received, SECONDS)
            finally:
                channel._lock.acquire()

    assert asyncio.run(compete()) == ["b"]
