"""The worker's end of a direct connection from its client.

A call through the supervisor wakes four threads five times, a direct one two threads
once each. Only the result of a run that returns soon and prints, displays and logs
nothing travels back directly. Every other run is handed over to the supervisor, which
reports it like any other. `WorkerToken` decides who owns the run, `DirectLease` when
the worker may be called.

Each message is a packet: it arrives whole or not at all.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from ipycron.process.direct.token import (
    WorkerToken,
    encode_busy,
    encode_free,
    make_worker_token,
)
from ipycron.process.unix import fcntl, termios
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
"""Largest result that is sent directly: answers wait in the client's memory."""
PACKET_BYTES = 2 * MAX_ANSWER_BYTES
"""More than any packet: a result, and a summary of 300 characters."""
_MICROSECONDS = 1_000_000
_CALL_BYTES = 64  # more than a call; a large buffer would be memory of the worker's
_NONE = bytes(4)  # no bytes, as `ioctl` counts them


def date_call(number: int) -> float:
    """Return when a call was made, in Unix seconds; its number encodes that."""
    return number / _MICROSECONDS


def number_call(now: float, last: int) -> int:
    """Return the number of a call that is made now, after another one."""
    return max(last + 1, int(now * _MICROSECONDS))


def name_call(connection: str, number: int) -> str:
    """Return the id of a call's run, which each of the three processes can compute."""
    return f"{connection}-{number:x}"


def read_call(execution_id: str) -> tuple[str, int]:
    """Return the arguments that `name_call` made an id of; ``("", 0)`` for others."""
    connection, _, number = execution_id.rpartition("-")
    try:
        return connection, int(number, 16)
    except ValueError:
        return "", 0


def make_connection() -> tuple[socket.socket, socket.socket, WorkerToken]:
    """Return the client's end, the worker's end, and the worker's token, taken.

    Raises:
        OSError: if there are no descriptors left.
        AttributeError: if the system has no eventfd.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        return ours, theirs, make_worker_token()
    except BaseException:
        ours.close()
        theirs.close()
        raise


class WorkerEnd:
    """Receives calls and sends their answers.

    Args:
        sock: this end of the connection.
        token: the worker's token.
        name: the connection's name, with which its runs' ids begin.
    """

    def __init__(self, sock: Socket, token: WorkerToken, name: str) -> None:
        self._sock = sock
        self._token = token
        self._name = name
        self._decoder = make_decoder(Call)
        self.fd = sock.fileno()

    def receive(self) -> int | None:
        """Return the number of the next call, or None if the client has closed."""
        try:
            data = self._sock.recv(_CALL_BYTES)
        except OSError:
            data = b""  # the job has closed it
        return self._decoder.decode(data).number if data else None

    def begin(self, number: int) -> str | None:
        """Begin a call.

        Returns:
            the id of the run, or None if it may not begin; the call is declined then.
        """
        value = self._token.take()
        if value and value < encode_free(number):
            self._token.put(encode_busy(number))
            return name_call(self._name, number)
        if value:
            self._token.put(value)  # the supervisor has taken this call over
        self._send(Declined(name_call(self._name, number)))
        return None

    def answer(self, answer: Answered) -> bool:
        """Send a short run's result directly.

        Returns:
            False if the supervisor must report the run.
        """
        value, busy = self._token.take(), encode_busy(answer.number)
        if value != busy:
            if value and self._token.is_whole():
                self._token.put(busy)  # a job has written there
            return False  # the supervisor has taken the run over
        # The token first: a worker that dies in between loses only this answer.
        self._token.put(encode_free(answer.number))
        return self._send(answer)

    def hand_over(self, number: int) -> None:
        """Notify the client that the supervisor will report the end of a run."""
        self._send(HandedOver(number))

    def _send(self, message: Answered | Declined | HandedOver) -> bool:
        """Send a message; return False if the client or the job closed the socket."""
        try:
            self._sock.send(encode_message(message))
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close this end and the worker's copy of the token."""
        self._sock.close()
        self._token.close()


def is_unread(*fds: int) -> bool:
    """Return whether anything that was written to these pipes is still unread.

    Also True if a descriptor does not support the query: a job may have replaced the
    pipe with a file.
    """
    try:
        for fd in fds:
            if fcntl.ioctl(fd, termios.FIONREAD, _NONE) != _NONE:
                return True
    except OSError:
        return True
    return False


def fits(payload: Payload) -> bool:
    """Return whether a result is small enough to be sent directly."""
    return payload.fd is None and payload.size <= MAX_ANSWER_BYTES
