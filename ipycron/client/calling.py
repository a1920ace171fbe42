"""A call for a run: past the scheduler where that can be, else by the scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipycron.api.task import Task
    from ipycron.client.client import Client
    from ipycron.client.completion import Completion
    from ipycron.process.direct.called import Called


def call(client: Client, task: Task) -> Completion[Any]:
    """Ask for a run of a task; return its end. See `Task.execute`."""
    completion = task.make_completion("execute")
    execution_id, called = "", None
    try:
        # Behind another run that was called for, it must not be the first to arrive.
        if not (task.calls or task.mirror.running):
            called = client.prepare_call(task, completion)
        execution_id = client.make_id() if called is None else called.execution_id
        task.calls.add(execution_id, completion)
        _send(client, task, execution_id, called)
    except BaseException:  # a signal's handler: nobody has the completion
        if called is not None:
            called.drop()
        if called is None or not called.is_sent:
            task.calls.take(execution_id)
        raise
    return completion


def _send(client: Client, task: Task, execution_id: str, called: Called | None) -> None:
    # Last: whoever ends a task ends all its calls then, and this is one now.
    if task.is_over:
        task.refuse(execution_id, client.make_over_error(task))
    elif called is None or not called.send():
        client.execute(task, execution_id)
    elif task.hears_runs:
        called.leave()  # to be told at once
