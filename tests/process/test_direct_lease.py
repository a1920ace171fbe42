"""Who owns a worker that both its supervisor and its client may call."""

import asyncio
import os
import socket

import pytest

from ipycron.process.direct.supervisor_end import DirectLease, DirectLeases, Fate
from ipycron.process.direct.token import WorkerToken, encode_busy, encode_free
from ipycron.process.direct.worker_end import (
    WorkerEnd,
    date_call,
    fits,
    is_unread,
    name_call,
    number_call,
    read_call,
)
from ipycron.process.wire.payload import Payload
from ipycron.process.wire.protocol import Answered, Call, encode_message

HUGE = (1 << 60).to_bytes(8, "little")


class House:
    """A lease, the worker's end and the client's end, in one process."""

    def __init__(self):
        self.told = []
        self.killed = []
        self.sent = []
        self.loop = asyncio.new_event_loop()
        self.lease = DirectLease(self.loop, self.killed.append)
        self.lease.open("t", 1, self, self)
        self.lease.grant(lambda *call: self.told.append(call))

    def send(self, opened, fds):
        """Take the worker's ends, like its channel."""
        sock, token = map(os.dup, fds)
        self.token = WorkerToken(token)
        self.worker = WorkerEnd(socket.socket(fileno=sock), self.token, opened.name)

    def forward(self, _, payload):
        """Take the client's end."""
        self.client = socket.socket(fileno=payload.detach())

    def turn(self):
        """Let the loop run its callbacks."""
        self.loop.run_until_complete(asyncio.sleep(0))

    def call(self, number):
        """Call the worker; return the id of the run that it begins, or None."""
        self.client.send(encode_message(Call(number)))
        assert self.worker.receive() == number
        return self.worker.begin(number)

    def answer(self, number):
        """End a run; return whether its result was sent directly."""
        return self.worker.answer(Answered(number, "1", 0.0, 0.0, b""))

    def name(self, number):
        """Return the id of a run."""
        return name_call(self.lease.name, number)

    def close(self):
        """Close all descriptors."""
        self.worker.close()
        self.client.close()
        self.lease.close()
        self.loop.close()


@pytest.fixture
def house():
    """A worker that is offered."""
    house = House()
    yield house
    house.close()


def test_call_is_begun_and_answered(house):
    """No other process is notified."""
    assert house.call(5) == house.name(5)
    assert house.answer(5)
    assert house.call(6) == house.name(6)
    assert house.told == []


def test_older_call_is_not_begun(house):
    """Its turn has passed."""
    assert house.call(5)
    assert house.answer(5)
    assert house.call(5) is None
    assert house.call(4) is None
    assert house.call(6)


def test_held_worker_declines(house):
    """Its supervisor uses it; afterwards it is offered again."""
    assert house.lease.hold()
    assert house.call(5) is None
    house.lease.grant(print)
    assert house.call(6)


def test_hold_reports_a_run_in_progress_once(house):
    """Whoever asks for the token then owns the run."""
    house.call(5)
    assert house.lease.hold()
    assert house.lease.hold()
    assert house.told == [(house.name(5), date_call(5))]
    assert not house.answer(5)
    assert house.lease.claim_reported(house.name(5))
    assert not house.lease.claim_reported(house.name(5))


def test_check_gives_back_what_it_took(house):
    """After everything pending has been read."""
    house.lease.check()
    assert house.call(5) is None
    house.turn()
    assert house.call(6)
    house.lease.check()
    house.turn()
    assert [call[0] for call in house.told] == [house.name(6)]
    assert house.call(7) is None


def test_check_gives_nothing_back_to_whom_it_was_taken_from(house):
    """The scheduler took it in the meantime."""
    house.lease.check()
    house.lease.hold()
    house.turn()
    assert house.call(5) is None


def test_fate_of_a_call(house):
    """Not begun, in progress, over; and it does not change afterwards."""
    assert house.lease.withdraw(house.name(5)) is Fate.OPEN
    assert house.lease.withdraw(house.name(5)) is Fate.REPORTED
    assert house.call(5) is None
    house.lease.grant(lambda *call: house.told.append(call))
    house.call(6)
    assert house.lease.withdraw(house.name(6)) is Fate.REPORTED
    assert len(house.told) == 1
    house.lease.grant(print)
    house.call(7)
    house.answer(7)
    assert house.lease.withdraw(house.name(7)) is Fate.ANSWERED
    assert house.call(8), "it has been given back"


def test_fate_is_unknown_while_the_worker_has_the_token(house):
    """The wait for it is short."""
    house.token.take()
    assert not house.lease.hold()
    assert house.lease.withdraw(house.name(5)) is Fate.UNKNOWN


def test_fate_of_a_call_outlives_the_worker(house):
    """A call that has not begun can be run by the next worker."""
    leases = DirectLeases()
    leases.add(house.lease)
    house.call(5)
    house.answer(5)
    house.lease.check()
    house.lease.close()
    leases.remove(house.lease)
    assert leases.withdraw(house.name(5), is_last=False) is Fate.ANSWERED
    assert leases.withdraw(house.name(6), is_last=False) is Fate.OPEN
    assert leases.withdraw("other-7", is_last=True) is Fate.ANSWERED


def test_worker_that_keeps_the_token_is_given_up(house):
    """In the end; one that dies with the token leaves nothing behind."""
    leases = DirectLeases()
    leases.add(house.lease)
    house.token.take()
    assert leases.withdraw(house.name(5), is_last=False) is Fate.UNKNOWN
    assert house.killed == []
    assert leases.withdraw(house.name(5), is_last=True) is Fate.UNKNOWN
    assert len(house.killed) == 1
    house.lease.close()
    leases.remove(house.lease)
    assert leases.withdraw(house.name(5), is_last=True) is Fate.ANSWERED


def test_lost_offers_are_forgotten_in_the_end():
    """A hundred are enough: their clients ask at once."""
    leases = DirectLeases()
    for number in range(150):
        lease = DirectLease(asyncio.new_event_loop(), print)
        lease._loop.close()
        lease.name = str(number)
        leases.add(lease)
        leases.remove(lease)
    assert len(leases._lost) == 100


def test_what_a_job_writes_to_the_token_is_not_trusted(house):
    """The worker answers through its supervisor, which learns of the run."""
    house.call(5)
    os.write(house.token.fd, HUGE)
    assert not house.answer(5)
    assert house.lease.withdraw(house.name(5)) is Fate.REPORTED
    assert house.told == [(house.name(5), date_call(5))]


def test_what_a_job_opens_in_place_of_the_token_is_not_written_to(house, tmp_path):
    """The job's descriptor may have the same number."""
    house.call(5)
    file = tmp_path / "data"
    file.write_bytes(bytes(range(1, 17)))
    fd = os.open(file, os.O_RDWR)
    os.dup2(fd, house.token.fd)
    os.close(fd)
    assert not house.answer(5)
    assert file.read_bytes() == bytes(range(1, 17))


def test_run_is_reported_once_whatever_its_job_claims(house):
    """A job can claim to have ended, and return later."""
    house.call(5)
    house.lease.hold()
    house.lease.handle_end(house.name(5))
    house.lease.grant(lambda *call: house.told.append(call))
    assert not house.answer(5), "the token says that it is over"
    house.lease.check()
    house.lease.handle_end(house.name(5))
    assert len(house.told) == 1
    house.turn()
    assert house.call(6)


def test_full_token_is_not_an_error(house):
    """A job has filled the counter: the worker is not offered."""
    house.lease.hold()
    os.write(house.token.fd, (2**64 - 2).to_bytes(8, "little"))
    house.lease.grant(print)
    assert house.lease.hold()


def test_end_of_another_workers_run_is_not_believed(house):
    """A job can write any id to its socket."""
    house.lease.handle_end("other-5")
    house.lease.handle_end("nothing")
    house.lease.handle_end(name_call(house.lease.name, 1 << 60))
    assert house.told == []


def test_client_that_is_gone_ends_the_connection(house):
    """No more calls; the supervisor reports what cannot be sent directly."""
    house.call(5)
    house.client.close()
    assert not house.answer(5)
    assert house.worker.receive() is None
    house.lease.handle_end(house.name(5))
    assert house.told


def test_ids_say_when_a_call_was_made():
    """In microseconds; each number is used once."""
    number = number_call(1_700_000_000.25, 0)
    assert date_call(number) == 1_700_000_000.25
    assert number_call(1_700_000_000.25, number) == number + 1
    assert number_call(5.0, number) == number + 1, "the clock was set back"
    assert read_call(name_call("abc", number)) == ("abc", number)
    assert read_call("no id") == ("", 0)
    assert read_call("0af-zz") == ("", 0)


def test_token_values_are_in_order():
    """A later call has a greater value, in progress or over."""
    words = [encode_free(1), encode_busy(1), encode_free(2), encode_busy(2)]
    assert words == sorted(set(words))
    assert all(words), "a counter holds no 0"


def test_unread_output_is_seen(tmp_path):
    """In a pipe; anything that cannot tell may contain unread output."""
    reader, writer = os.pipe()
    assert not is_unread(writer)
    os.write(writer, b"x")
    assert is_unread(writer)
    os.read(reader, 1)
    assert not is_unread(writer)
    os.close(reader)
    os.close(writer)
    assert is_unread(writer)


def test_only_small_results_are_sent_directly():
    """They are buffered in the client's memory."""
    assert fits(Payload(bytes(8192)))
    assert not fits(Payload(bytes(8193)))
