"""Text of any size and origin, made fit to be kept: head and tail, plain UTF-8."""

from __future__ import annotations

HEAD_BYTES = 256 * 1024
TAIL_BYTES = 64 * 1024
"""Bytes kept of a stream that is too long: no more than is certain to arrive however
fast the stream was, so that the same output is always cut in the same places."""


class OutputLog:
    """The head and the tail of what one run wrote.

    If something is left out, both consist of whole lines, if they have any.

    Args:
        head_bytes: how much is kept of the beginning.
        tail_bytes: how much is kept of the end.

    Attributes:
        size: total bytes that the job wrote.
    """

    def __init__(
        self, head_bytes: int = HEAD_BYTES, tail_bytes: int = TAIL_BYTES
    ) -> None:
        self._head_bytes = head_bytes
        self._tail_bytes = tail_bytes
        self._head = bytearray()
        self._tail = bytearray()
        self._lines = 0  # total line ends that the job wrote
        self.size = 0

    @property
    def kept(self) -> int:
        """Bytes in memory."""
        return len(self._head) + len(self._tail)

    @property
    def left_out(self) -> int:
        """Bytes that are not kept."""
        return self.read(0, self.size)[1]

    def append(self, data: bytes, dropped: int = 0, dropped_lines: int = 0) -> None:
        """Add `data`, preceded by so many bytes and line ends that were not kept."""
        self._lines += dropped_lines + data.count(b"\n")
        if not dropped and self.size == len(self._head):
            room = self._head_bytes - len(self._head)
            self._head += data[:room]
            self.size += len(data[:room])
            data = data[room:]
        if dropped:
            # The tail must be contiguous: what came before the gap is dropped, too.
            self._tail.clear()
        self._tail += data
        del self._tail[: -self._tail_bytes]
        self.size += dropped + len(data)

    def _find_gap(self) -> tuple[int, int]:
        """Return where the head ends and the tail begins; equal if none is missing."""
        begin, end = len(self._head), self.size - len(self._tail)
        if begin == end:
            return begin, end
        begin = self._head.rfind(b"\n") + 1 or begin
        return begin, end + self._tail.find(b"\n", 0, -1) + 1

    def read(self, start: int, stop: int) -> tuple[bytes, int, bytes]:
        """Return what is kept of the bytes from `start` to `stop`.

        Returns:
            The part from the head, the number of bytes that were not kept, and the part
            from the tail.
        """
        begin, end = self._find_gap()
        head = bytes(self._head[start : min(stop, begin)])
        first = self.size - len(self._tail)
        tail = bytes(self._tail[max(start, end) - first : max(stop, end) - first])
        return head, stop - start - len(head) - len(tail), tail

    def __str__(self) -> str:
        head, missing, tail = self.read(0, self.size)
        if not missing:
            return (head + tail).decode("utf-8", "replace")
        lines = self._lines - head.count(b"\n") - tail.count(b"\n")
        gap = b"" if head.endswith(b"\n") else b"\n"
        marker = f"… {lines:,} lines, {missing:,} bytes left out …\n"
        return (
            (head + gap).decode("utf-8", "replace")
            + marker
            + tail.decode("utf-8", "replace")
        )


def show_surrogates(text: str) -> str:
    """Return the text with lone surrogates, which UTF-8 does not have, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
