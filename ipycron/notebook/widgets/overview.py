"""All tasks at a glance: the panel, or a table if there are no widgets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.api import functions as api
from ipycron.notebook.display.tables import TaskTable

if TYPE_CHECKING:
    from ipycron.notebook.widgets.panel import Panel


def panel() -> Panel | TaskTable:
    """Return a new panel of all tasks, to be shown as the last line of a cell.

    If widgets are not installed, it is a table of the current tasks.
    """
    try:
        from ipycron.notebook.widgets.panel import Panel  # noqa: PLC0415 - anywidget, 260 ms
    except ImportError:
        return TaskTable(api.get_tasks().values())
    return Panel()
