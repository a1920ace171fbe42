"""How tasks and expressions are displayed as the last line of a cell.

The formatters are registered by type name: a notebook that shows no task imports
nothing for it, and the layers below are independent of notebooks.
"""

# mypy: disable-error-code="no-untyped-call"
# Most of IPython's methods have no annotations.

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipycron.api.functions import TaskMap
    from ipycron.api.task import Task

_TASK = ("ipycron.api.task", "Task")
_TASKS = ("ipycron.api.functions", "TaskMap")
_TRIGGER = ("ipycron.cron.trigger", "Trigger")


def register_formats(shell: Any) -> None:
    """Register rich displays of ipycron's objects with the shell."""
    shell.display_formatter.ipython_display_formatter.for_type_by_name(
        *_TASK, show_card
    )
    formatter = shell.display_formatter.mimebundle_formatter
    formatter.for_type_by_name(*_TASK, format_task)
    formatter.for_type_by_name(*_TRIGGER, format_expression)
    formatter.for_type_by_name(*_TASKS, format_mapping)


def unregister_formats(shell: Any) -> None:
    """Remove the rich displays of ipycron's objects from the shell."""
    formatter = shell.display_formatter.mimebundle_formatter
    shell.display_formatter.ipython_display_formatter.pop(".".join(_TASK), None)
    for kind in (_TASK, _TRIGGER, _TASKS):
        formatter.pop(".".join(kind), None)


def show_card(task: Task) -> None:
    """Show a task as its card, with a static copy in an output of its own.

    Raises:
        NotImplementedError: if no card can be shown; IPython then tries the other
            formats.
    """
    from IPython import get_ipython  # noqa: PLC0415 - as in all of this module

    from ipycron.notebook.widgets.page import make_card, show_view  # noqa: PLC0415

    has_kernel = getattr(get_ipython(), "kernel", None) is not None
    card = make_card(task) if has_kernel else None
    if card is None:
        raise NotImplementedError
    show_view(card, partial(format_task, task))


def format_task(task: Task, **_: Any) -> dict[str, Any]:
    """Return a task's mimebundle, without widgets."""
    from ipycron.notebook.display.static import describe_task  # noqa: PLC0415

    return describe_task(task)


def format_expression(expression: Any, **_: Any) -> dict[str, Any]:
    """Return a trigger's mimebundle: its words and its next fires."""
    from ipycron.notebook.display.tables import ExpressionView  # noqa: PLC0415

    return _describe(ExpressionView(expression))


def format_mapping(mapping: TaskMap, **_: Any) -> Any:
    """Return the table of `get_tasks()`; None if there is no task."""
    from ipycron.notebook.display.tables import TaskTable  # noqa: PLC0415

    tasks = tuple(mapping.values())
    return _describe(TaskTable(tasks)) if tasks else None


def _describe(view: Any) -> dict[str, Any]:
    return {
        "text/plain": repr(view),
        "text/html": view._repr_html_(),
    }
