"""What a cell shows: rich displays on their way from a worker to the notebook."""

# mypy: disable-error-code="no-untyped-call"
# Most of IPython's methods have no annotations.
from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher

from ipycron.process.posix import flush_stdio
from ipycron.process.wire.displays import DisplayData

if TYPE_CHECKING:
    from collections.abc import Callable


WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

_HINT = "(A job has no page for widgets: this is the widget's text when it was shown.)"


def clean_bundle(data: dict[str, Any], *, has_page: bool = False) -> dict[str, Any]:
    """Return a mimebundle of built-in values, fit for a notebook.

    Widget views are removed: their model is in the worker, which no browser can reach,
    and an empty box would hide the plain text beside it.

    Args:
        data: the bundle, by MIME type.
        has_page: whether this is the notebook's own process, where widgets live.
    """
    cleaned = {
        str.__str__(mime): _clean_value(value)  # also of a subclass of str
        for mime, value in data.items()
        if mime != WIDGET_VIEW or has_page
    }
    if WIDGET_VIEW in data and not has_page:
        cleaned["text/plain"] = f"{cleaned.get('text/plain', 'a widget')}\n{_HINT}"
    return cleaned


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


class CellPublisher(DisplayPublisher):
    """Hands every display to `sink`, in the process that owns it.

    Both are set before anything is displayed (`CellInteractiveShell.attach`).
    """

    sink: Callable[[DisplayData], None]
    owner_pid: int

    def publish(
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        *_: Any,
        transient: dict[str, Any] | None = None,
        update: bool = False,
        **__: Any,
    ) -> None:
        """Publish a mimebundle as a display, or as an update of one.

        Further arguments that some versions of IPython pass are ignored.
        """
        self.send(
            DisplayData(
                kind="update" if update else "display",
                data=clean_bundle(data),
                metadata=clean_metadata(metadata),
                display_id=_to_json((transient or {}).get("display_id")),
            )
        )

    def clear_output(
        self,
        wait: bool = False,  # noqa: FBT001, FBT002 - as IPython calls it
    ) -> None:
        """Ask the front end to clear the output."""
        self.send(DisplayData(kind="clear", is_waiting=wait))

    def send(self, display: DisplayData) -> None:
        """Flush what was printed before, then send the display."""
        flush_stdio()
        if os.getpid() == self.owner_pid:
            self.sink(display)
        elif text := display.data.get("text/plain"):
            # A child forked by the cell: the connection belongs to its parent.
            print(text)  # noqa: T201 - stdout is all that the child has


class CellDisplayHook(DisplayHook):
    """Publishes the value of an expression; keeps no reference to it."""

    def quiet(self) -> bool:
        """Return False: a semicolon is seen when the cell is compiled."""
        return False

    def write_output_prompt(self) -> None:
        """Write nothing: there is no ``Out[1]:`` here."""

    def finish_displayhook(self) -> None:
        """Write nothing: the cell may have closed stdout."""

    def update_user_ns(self, result: object) -> None:
        """Keep nothing: `_` and `Out` would hold results from run to run."""

    def log_output(self, format_dict: dict[str, Any]) -> None:
        """Log nothing: there is no history."""

    def write_format_data(
        self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None
    ) -> None:
        """Publish the value's mimebundle as a result."""
        assert self.shell is not None
        publisher = self.shell.display_pub
        data, metadata = clean_bundle(format_dict), clean_metadata(md_dict)
        if isinstance(publisher, CellPublisher):
            publisher.send(DisplayData(kind="result", data=data, metadata=metadata))
        else:  # a capturing publisher, inside %%capture
            publisher.publish(data, metadata)
