"""Shows what background jobs print on the console of the script that scheduled them.

As it arrives, stdout on stdout and stderr on stderr. If several tasks are started, each
line begins with its task's name. In a notebook, the cards and `%cron logs` show it.
"""

from __future__ import annotations

import codecs
import contextlib
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from ipycron.client.keepalive import is_interactive
from ipycron.process.wire.printable import keep_colours

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PENDING = 4 * 1024 * 1024
"""Bytes that wait for the console; the rest is dropped, with a notice."""


class Echo:
    """Writes output to the console, in order and off the client's loop.

    Args:
        defer: calls a function soon, in a lane of its own; see `Dispatcher.submit`.

    Attributes:
        is_on: whether anything is shown.
    """

    def __init__(self, defer: Callable[..., Any]) -> None:
        self.is_on = True
        self._defer = defer
        self._pending = 0
        self._dropped = 0
        self._decoders: dict[tuple[str, str], codecs.IncrementalDecoder] = {}
        self._unfinished: tuple[str, str] | None = None  # of an unfinished line

    def submit(
        self, task_id: str, stream: str, data: bytes, dropped: int, prefix: str
    ) -> None:
        """Show what a job wrote; on the client's loop.

        Args:
            task_id: the task.
            stream: ``"stdout"`` or ``"stderr"``.
            data: the bytes.
            dropped: bytes before them that were dropped.
            prefix: the beginning of each line.
        """
        if not self.is_on or is_interactive():
            return
        self._dropped += dropped
        if self._pending > MAX_PENDING:
            self._dropped += len(data)
            return
        self._pending += len(data)
        left_out, self._dropped = self._dropped, 0
        call = partial(self._show, (task_id, stream), data, left_out, prefix)
        self._defer(call, lane="echo", label="the output of jobs on the console")

    def forget(self, task_id: str) -> None:
        """Forget a task that is destroyed."""
        if {(task_id, "stdout"), (task_id, "stderr")} & self._decoders.keys():
            self._defer(partial(self._forget, task_id), lane="echo")

    def _forget(self, task_id: str) -> None:
        for stream in ("stdout", "stderr"):
            self._decoders.pop((task_id, stream), None)

    def _show(
        self, source: tuple[str, str], data: bytes, left_out: int, prefix: str
    ) -> None:
        self._pending -= len(data)
        decoder = self._decoders.get(source)
        if decoder is None:
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            self._decoders[source] = decoder
        text = decoder.decode(data)
        if left_out:
            text = f"\n… {left_out} bytes were left out …\n{text}"
        if text:
            self._write(source, text, prefix)

    def _write(self, source: tuple[str, str], text: str, prefix: str) -> None:
        stream = getattr(sys, source[1])
        with contextlib.suppress(ValueError, AttributeError):  # closed, or none
            if stream.isatty():
                text = keep_colours(text)
        before, self._unfinished = self._unfinished, None
        if prefix:
            lines = text.splitlines(keepends=True)
            goes_on = before == source
            text = "".join(
                line if index == 0 and goes_on else f"{prefix}{line}"
                for index, line in enumerate(lines)
            )
            if before is not None and not goes_on:
                text = f"\n{text}"
        if not text.endswith("\n"):
            self._unfinished = source
        # The script may have closed the stream, or its reader may have ended.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.write(text)
            stream.flush()
