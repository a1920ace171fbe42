"""What a run displays, on its way from the worker to the front end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ipycron.process.wire.payload import PayloadLost, pack_data, unpack_data

if TYPE_CHECKING:
    from ipycron.process.wire.payload import Payload

DisplayKind = Literal["display", "update", "clear", "result"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayData:
    """One call of `display`, `update_display` or `clear_output`, or a result shown.

    Holds built-in values only: it travels as plain data and becomes JSON.

    Attributes:
        kind: a new output, new content for outputs with the same `display_id`, a
            request to clear the outputs, or the value of a trailing expression.
        data: the mimebundle; images and other bytes are base64 text.
        metadata: by MIME type, as in Jupyter's messages.
        display_id: the name that an "update" refers to, or None.
        is_waiting: for a "clear": whether it takes effect only when the next output
            arrives.
    """

    kind: DisplayKind
    data: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    display_id: str | None = None
    is_waiting: bool = False


def pack_display(display: DisplayData) -> Payload:
    """Return a display as plain data."""
    return pack_data(display)


def unpack_display(payload: Payload) -> DisplayData:
    """Return a display; a line of text if it is not one: a job can send anything."""
    try:
        return unpack_data(payload, DisplayData)
    except (msgspec.MsgspecError, PayloadLost, ValueError, OSError) as error:
        text = f"a display that cannot be read: {error}"
        return DisplayData(kind="display", data={"text/plain": text})
