"""What a cell shows: rich displays on their way from a worker to the notebook."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any, Literal

DisplayKind = Literal["display", "update", "clear", "result"]

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayData:
    """One call of `display`, `update_display` or `clear_output`, or a result shown.

    Holds built-in values only: it travels by plain pickle and becomes JSON.

    Attributes:
        kind: a new output, a new content for those of the same `display_id`, an
            order to empty the outputs, or the value of a trailing expression.
        data: the mimebundle; images and other bytes are base64 text.
        metadata: by MIME type, as in Jupyter's messages.
        display_id: the name that an "update" refers to, or None.
        is_waiting: of a "clear": only when the next output comes.
    """

    kind: DisplayKind
    data: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    display_id: str | None = None
    is_waiting: bool = False


def clean_bundle(data: dict[str, Any]) -> dict[str, Any]:
    """Return a mimebundle of built-in values that a notebook can show.

    The view of a widget goes: its model is in the worker, where no browser looks,
    and an empty box would hide the plain text beside it.
    """
    return {
        mime: _clean_value(value) for mime, value in data.items() if mime != WIDGET_VIEW
    }


def clean_metadata(metadata: dict[str, Any] | None) -> dict[str, Any]:
    """Return metadata of built-in values."""
    return _to_json(metadata) if metadata else {}


def _clean_value(value: object) -> Any:
    if type(value) is str:
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    return _to_json(value)


def _to_json(value: object) -> Any:
    """Return what JSON makes of a value: an array or a date in it becomes text."""
    return json.loads(json.dumps(value, default=str))
