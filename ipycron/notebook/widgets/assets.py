"""The script and style sheet of all views, once per kernel.

A page that is reloaded asks its kernel for the state of every widget, and gives up on
those that have not arrived after two seconds. With the script in each of them (86 KB)
that was 12 MB for 120 views, and none was restored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ipywidgets
import traitlets

_VIEW = Path(__file__).parent / "view"
_SCRIPTS = (
    "dom",
    "clock",
    "terminal",
    "trace",
    "charts",
    "link",
    "pane",
    "rows",
    "card",
    "leftovers",
    "table",
    "sections",
    "restore",
    "panel",
    "index",
)


def read_script() -> str:
    """Return the one ES module: the files of ``view/``, concatenated.

    They share one scope, as if they were one file; only the last one exports.
    """
    return "\n".join((_VIEW / f"{name}.js").read_text("utf-8") for name in _SCRIPTS)


def read_style() -> str:
    """Return the one style sheet."""
    return (_VIEW / "style.css").read_text("utf-8")


def read_loader() -> str:
    """Return the small ES module in each view, which loads the large one."""
    return (_VIEW / "loader.js").read_text("utf-8")


class Assets(ipywidgets.Widget):  # type: ignore[misc]  # has no annotations
    """What the views of one kernel share: a model that shows nothing."""

    script = traitlets.Unicode(read_only=True).tag(sync=True)
    style = traitlets.Unicode(read_only=True).tag(sync=True)

    @traitlets.default("script")
    def _read_script(self) -> str:
        return read_script()

    @traitlets.default("style")
    def _read_style(self) -> str:
        return read_style()


def refer_to_assets(assets: Any, _: Any) -> str:
    """Return the reference to the assets in the state of a view.

    They are opened if necessary: the user may have closed all widgets.
    """
    assets.open()
    return f"IPY_MODEL_{assets.model_id}"
