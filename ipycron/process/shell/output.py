"""What a cell displays, taken from IPython's hands.

Imports IPython, so nothing imports this module before `prepare_shell` does.
"""

# mypy: disable-error-code="no-untyped-call"
# Most of IPython's methods have no annotations.

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher

from ipycron.process.posix import flush_stdio
from ipycron.process.shell.displays import DisplayData, clean_bundle, clean_metadata

if TYPE_CHECKING:
    from collections.abc import Callable


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

        What other versions of IPython pass beside these is of no use here.
        """
        self.send(
            DisplayData(
                kind="update" if update else "display",
                data=clean_bundle(data),
                metadata=clean_metadata(metadata),
                display_id=(transient or {}).get("display_id"),
            )
        )

    def clear_output(
        self,
        wait: bool = False,  # noqa: FBT001, FBT002 - as IPython calls it
    ) -> None:
        """Ask for an empty output."""
        self.send(DisplayData(kind="clear", is_waiting=wait))

    def send(self, display: DisplayData) -> None:
        """Push out what was printed before, then send the display."""
        flush_stdio()
        if os.getpid() == self.owner_pid:
            self.sink(display)
        elif text := display.data.get("text/plain"):
            # A child that the cell forked: the connection is not its own.
            print(text)  # noqa: T201 - stdout is all that the child has


class CellDisplayHook(DisplayHook):
    """Publishes the value of an expression; keeps no reference to it."""

    def quiet(self) -> bool:
        """Return False: a semicolon is seen when the cell is compiled."""
        return False

    def write_output_prompt(self) -> None:
        """Write nothing: there is no ``Out[1]:``."""

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
        else:  # one that captures, in the middle of %%capture
            publisher.publish(data, metadata)
