"""A line from the client to a worker, past the supervisor, for short and quiet runs.

A call by the supervisor is five wake-ups of four threads; by the line it is two. The
line only carries what nobody else need hear of: a run that returns soon, and prints,
displays and logs nothing. Every other run is handed over to the supervisor, who tells
of it as of all others; see `WorkerToken` for who decides, and `DirectLease` for when.

Each message is a packet: it arrives whole or not at all.
"""

from __future__ import annotations

import fcntl
import socket
import termios
from typing import TYPE_CHECKING

from ipycron.process.direct.token import (
    WorkerToken,
    make_worker_token,
    say_busy,
    say_free,
)
from ipycron.process.wire.protocol import (
    Answered,
    Call,
    Declined,
    HandedOver,
    encode_message,
    make_decoder,
)

if TYPE_CHECKING:
    from _socket import socket as Socket  # noqa: N812 - `socket.socket` is one

    from ipycron.process.wire.payload import Payload

MAX_ANSWER_BYTES = 8 * 1024
"""Largest result that travels by the line: answers wait in the client's memory."""
PACKET_BYTES = 2 * MAX_ANSWER_BYTES
"""More than any packet: a result, and a summary of 300 characters."""
_MICROSECONDS = 1_000_000
_CALL_BYTES = 64  # more than a call; a large buffer would be memory of the worker's
_NONE = bytes(4)  # no bytes, as `ioctl` counts them


def date_call(number: int) -> float:
    """Return when a call was made, Unix seconds: that is what its number says."""
    return number / _MICROSECONDS


def number_call(now: float, last: int) -> int:
    """Return the number of a call that is made now, after another one."""
    return max(last + 1, int(now * _MICROSECONDS))


def name_call(line: str, number: int) -> str:
    """Return the id of a call's run, which three processes know without being told."""
    return f"{line}-{number:x}"


def read_call(execution_id: str) -> tuple[str, int]:
    """Return what `name_call` was given; no line and 0 for other ids."""
    line, _, number = execution_id.rpartition("-")
    try:
        return line, int(number, 16)
    except ValueError:
        return "", 0


def make_line() -> tuple[socket.socket, socket.socket, WorkerToken]:
    """Return the client's end, the worker's end, and who has the worker: we.

    Raises:
        OSError, AttributeError: if the system has none of these, or no more.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        return ours, theirs, make_worker_token()
    except BaseException:
        ours.close()
        theirs.close()
        raise


class WorkerEnd:
    """The worker's end: what it is called for, and what it says to that.

    Args:
        sock: this end.
        token: who has this worker.
        name: the line's name, the beginning of its runs' ids.
    """

    def __init__(self, sock: Socket, token: WorkerToken, name: str) -> None:
        self._sock = sock
        self._token = token
        self._name = name
        self._decoder = make_decoder(Call)
        self.fd = sock.fileno()

    def receive(self) -> int | None:
        """Return the number of a call that has arrived; None: there are no more."""
        try:
            data = self._sock.recv(_CALL_BYTES)
        except OSError:
            data = b""  # the job has closed it
        return self._decoder.decode(data).number if data else None

    def begin(self, number: int) -> str | None:
        """Return the id of the run that is to begin now; None where it must not."""
        word = self._token.take()
        if word and word < say_free(number):
            self._token.put(say_busy(number))
            return name_call(self._name, number)
        if word:
            self._token.put(word)  # the supervisor has had this call
        self._send(Declined(name_call(self._name, number)))
        return None

    def answer(self, answer: Answered) -> bool:
        """Tell of a run that was short; False where the supervisor wants to hear it."""
        word, busy = self._token.take(), say_busy(answer.number)
        if word != busy:
            if word and self._token.is_whole():
                self._token.put(busy)  # a job has written there
            return False  # else the supervisor has it
        # First the token: a worker that dies here has lost one answer, and no more.
        self._token.put(say_free(answer.number))
        return self._send(answer)

    def hand_over(self, number: int) -> None:
        """Tell that a run's end comes by the supervisor."""
        self._send(HandedOver(number))

    def _send(self, message: Answered | Declined | HandedOver) -> bool:
        """Send; return whether it has left: the client, or the job, may close it."""
        try:
            self._sock.send(encode_message(message))
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close this end, and our copy of the token; the supervisor has its own."""
        self._sock.close()
        self._token.close()


def is_unread(*fds: int) -> bool:
    """Return whether anything that was written to these pipes is unread.

    A descriptor that cannot tell (the job has put a file there) may hide something.
    """
    try:
        for fd in fds:
            if fcntl.ioctl(fd, termios.FIONREAD, _NONE) != _NONE:
                return True
    except OSError:
        return True
    return False


def fits(payload: Payload) -> bool:
    """Return whether a result may travel by the line."""
    return payload.fd is None and payload.size <= MAX_ANSWER_BYTES
