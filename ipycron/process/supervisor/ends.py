"""What connects the supervisor with one worker: a socket, pipes, a permit."""

from __future__ import annotations

import contextlib
import os
import socket

from ipycron.process.standby import make_permit


class Ends:
    """The descriptors that a worker gets; ours until it has them."""

    def __init__(self) -> None:
        with contextlib.ExitStack() as made:

            def make_pipe() -> tuple[int, int]:
                ends = os.pipe()
                for fd in ends:
                    made.callback(os.close, fd)
                return ends

            self.ours, theirs = socket.socketpair()
            made.enter_context(self.ours)
            made.enter_context(theirs)
            self.stdout, stdout = make_pipe()
            self.stderr, stderr = make_pipe()
            lifeline, self.lifeline = make_pipe()
            self.permit = make_permit()
            made.pop_all()  # no lack of descriptors: they stay
        self._theirs: socket.socket | None = theirs
        self._passed = (stdout, stderr, lifeline)
        self.fds = (theirs.fileno(), *self._passed, self.permit.fd)

    def close_theirs(self) -> None:
        """Close the worker's ends here, so that their end of file means its end."""
        if self._theirs is not None:
            self._theirs.close()
            self._theirs = None
            for fd in self._passed:
                os.close(fd)
