"""A run's output as a list of items for the browser: text, and slots for displays.

Text is drawn by our own script, line by line as it comes; rich displays by the
notebook's own renderers, each group in a *slot* (an `ipywidgets.Output`, see
`pane.py`). A group is sealed when text follows it or it has grown large, so that a
new figure does not send the old ones again.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ipycron.notebook.display.words import clean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipycron.client.output import Piece
    from ipycron.process.wire.displays import DisplayData

    Item = tuple[str, Any]

MAX_CHARACTERS = 256 * 1024
"""Characters of one run's output that are shown: the last ones."""
MAX_FRESH = 64 * 1024
"""The same for one addition: the most that a worker's pipe delivers. If many tasks
print without end, some output of each is shown now and then."""
MAX_GROUPS = 32
"""Groups of displays of one run that are shown: the newest ones."""
SEALED_BYTES = 200_000
"""Bytes in a group beyond which the next display starts another."""
MAX_BUNDLE_BYTES = 2_000_000
"""Bytes of one display beyond which its plain text is shown: a notebook server drops
output above a megabyte a second."""

_PLAIN = "text/plain"
_UNSEEN = re.compile(
    r"<(script|style)\b.*?</\1\s*>|<!--.*?-->", re.DOTALL | re.IGNORECASE
)
"""MIME types that show nothing by themselves."""


@dataclass(slots=True)
class Group:
    """Adjacent displays. `number` counts up within a run."""

    number: int
    outputs: list[dict[str, Any]] = field(default_factory=list)
    size: int = 0

    def add(self, output: dict[str, Any]) -> None:
        """Add a display."""
        self.outputs.append(output)
        self.size += measure(output["data"])


class Transcript:
    """Turns pieces of output into items, and keeps the items that are shown.

    An item is a pair:

    * ``("stdout", text)``, ``("stderr", text)``, ``("result", text)``
    * ``("missing", bytes)``: this number of bytes was left out here
    * ``("group", number)``: the displays of this group go here
    * ``("clear", None)``: everything before is removed

    Attributes:
        items: what is shown, in order.
        groups: the displays, by number; at most `MAX_GROUPS`.
        has_result: whether the value of a trailing expression is among them.
    """

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.groups: dict[int, Group] = {}
        self.has_result = False
        self._changed: set[int] = set()
        self._characters = 0
        self._next_group = 0
        self._open: Group | None = None
        self._is_clearing = False
        self._homes: dict[str, tuple[Group, int]] = {}
        self._decoders = {name: _make_decoder() for name in ("stdout", "stderr")}

    def feed(self, pieces: Iterable[Piece], limit: int = MAX_CHARACTERS) -> list[Item]:
        """Add pieces; return the items to append to what is shown.

        Args:
            pieces: in order.
            limit: the number of their last characters that are shown.
        """
        fresh: list[Item] = []
        for piece in pieces:
            if piece.kind == "display":
                fresh += self._feed_display(piece.display)
            else:
                fresh += self._feed_text(piece)
        fresh = _shorten(_join(fresh), limit)
        self._keep(fresh)
        return fresh

    def take_changed(self) -> list[Group]:
        """Return the groups that have changed since the last call."""
        changed, self._changed = self._changed, set()
        return [self.groups[number] for number in sorted(changed & set(self.groups))]

    def _feed_text(self, piece: Piece) -> list[Item]:
        items: list[Item] = []
        if piece.missing:
            self._decoders[piece.kind] = _make_decoder()
            items.append(("missing", piece.missing))
        text = self._decoders[piece.kind].decode(piece.data)
        if text:
            items.append((piece.kind, text))
        return self._begin(items)

    def _begin(self, items: list[Item]) -> list[Item]:
        """Clear first if a ``clear_output(wait=True)`` waits for new output."""
        if not items:
            return items
        if items[0][0] != "group":
            self._open = None
        if not self._is_clearing:
            return items
        self._is_clearing = False
        return [self._clear(), *items]

    def _clear(self) -> Item:
        self._open = None
        self._homes.clear()
        return ("clear", None)

    def _feed_display(self, display: DisplayData | None) -> list[Item]:
        if display is None:
            return self._begin([("missing", 0)])
        if display.kind == "clear":
            self._is_clearing = display.is_waiting
            return [] if display.is_waiting else [self._clear()]
        self.has_result |= display.kind == "result"
        output = _make_output(display)
        if display.kind == "update":
            self._update(display.display_id, output)
            return []
        if set(output["data"]) <= {_PLAIN} and display.display_id is None:
            text = str(output["data"].get(_PLAIN, ""))
            return self._begin([("result", f"{text}\n")])
        cleared = self._begin([("group", 0)])[:-1]
        return cleared + self._add(output, display.display_id)

    def _update(self, display_id: str | None, output: dict[str, Any]) -> None:
        home = self._homes.get(display_id or "")
        if home is not None:
            group, index = home
            group.size += measure(output["data"])
            group.size -= measure(group.outputs[index]["data"])
            group.outputs[index] = output
            self._changed.add(group.number)

    def _add(self, output: dict[str, Any], display_id: str | None) -> list[Item]:
        group = self._open
        items: list[Item] = []
        if group is None or group.size > SEALED_BYTES:
            group = self._open = Group(self._next_group)
            self.groups[group.number] = group
            self._next_group += 1
            self.groups.pop(group.number - MAX_GROUPS, None)
            items.append(("group", group.number))
        if display_id is not None:
            self._homes[display_id] = group, len(group.outputs)
        group.add(output)
        self._changed.add(group.number)
        return items

    def _keep(self, fresh: list[Item]) -> None:
        for kind, value in fresh:
            if kind == "clear":
                self.items.clear()
                self._characters = 0
            else:
                self.items.append((kind, value))
                self._characters += _count(kind, value)
        if self._characters > MAX_CHARACTERS or len(self.items) > 2 * MAX_CHARACTERS:
            # Half of the limit, so that this is not done for every line from now on.
            self.items = _shorten(self.items, MAX_CHARACTERS // 2)
            self._characters = sum(_count(kind, value) for kind, value in self.items)
        shown = {value for kind, value in self.items if kind == "group"}
        if len(shown) < len(self.groups):
            self.groups = {n: g for n, g in self.groups.items() if n in shown}


def measure(data: dict[str, Any]) -> int:
    """Return the approximate size of a mimebundle in bytes."""
    return sum(
        len(value) if isinstance(value, str) else len(repr(value))
        for value in data.values()
    )


def _make_output(display: DisplayData) -> dict[str, Any]:
    """Return a display as a notebook output, if it is not too large."""
    data, metadata = display.data, display.metadata
    size = measure(data)
    if size > MAX_BUNDLE_BYTES:
        if _is_unseen(data):
            return {"output_type": "display_data", "data": {_PLAIN: ""}, "metadata": {}}
        plain = clean(str(data.get(_PLAIN, "")), 10_000)
        note = f"[{size:,} bytes are too many for a live view; see .output.displays]"
        data, metadata = {_PLAIN: f"{plain}\n{note}".strip()}, {}
    return {"output_type": "display_data", "data": data, "metadata": metadata}


def _is_unseen(data: dict[str, Any]) -> bool:
    """Return whether a display is only a script: plotly sends its library once."""
    html = data.get("text/html")
    return (
        isinstance(html, str) and len(data) == 1 and not _UNSEEN.sub("", html).strip()
    )


def _make_decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("replace")


def _join(items: list[Item]) -> list[Item]:
    """Merge neighbours of one kind, and drop what a clear removes."""
    for index in range(len(items) - 1, -1, -1):
        if items[index][0] == "clear":
            items = items[index:]
            break
    joined: list[Item] = []
    for kind, value in items:
        if joined and joined[-1][0] == kind and kind not in ("group", "clear"):
            joined[-1] = (kind, joined[-1][1] + value)
        else:
            joined.append((kind, value))
    return joined


def _count(kind: str, value: Any) -> int:
    return len(value) if kind in _TEXTS else 0


_TEXTS: tuple[Literal["stdout", "stderr", "result"], ...] = (
    "stdout",
    "stderr",
    "result",
)


def _shorten(items: list[Item], limit: int) -> list[Item]:
    """Return the last items: at most `limit` characters, and the groups."""
    excess = sum(_count(kind, value) for kind, value in items) - limit
    if excess <= 0:
        return items
    kept: list[Item] = []
    left_out = 0
    for kind, value in items:
        if excess > 0 and kind in _TEXTS:
            cut = min(excess, len(value))
            excess -= cut
            left_out += len(value[:cut].encode("utf-8", "replace"))
            value = value[cut:]  # noqa: PLW2901 - what is left of it
        elif excess > 0 and kind == "missing":
            left_out += value
            value = 0  # noqa: PLW2901 - as above
        if left_out and excess <= 0:
            kept.append(("missing", left_out))
            left_out = 0
        if value or kind in ("group", "clear"):
            kept.append((kind, value))
    return kept
