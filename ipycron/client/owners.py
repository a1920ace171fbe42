"""The port of the engine to where tasks live: who schedules them and runs their jobs.

A record, a handle and a view never ask which owner a task has; the engine looks it up
once for each request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ipycron.client.completion import Completion
    from ipycron.client.record import TaskRecord
    from ipycron.client.recovery import Action
    from ipycron.scheduling.events import Pause
    from ipycron.scheduling.policy import CatchUp


class TaskOwner(Protocol):
    """Schedules and runs some of the client's tasks.

    Its methods are called on the client's loop, unless noted; the requests after `add`
    and `knows`, only for tasks that it knows. What happens to a task is reported to the
    client as notices, refusals and output, whichever owner it has.
    """

    def prepare_start(self) -> None:
        """Get ready for a start that is about to be requested; from any thread.

        The main thread may be about to end, after which no thread can be started.
        """

    def add(self, task: TaskRecord) -> None:
        """Take a task on, stopped."""

    def knows(self, task_id: str) -> bool:
        """Return whether a task can be controlled: not destroyed, nothing shut down."""

    def forget(self, task_id: str) -> None:
        """Forget a destroyed task. Idempotent; one of another owner is ignored."""

    def control(
        self, task_id: str, action: Action, *, force: bool
    ) -> Awaitable[None] | None:
        """Start, stop or destroy a task.

        The result ends with that; None if it is done already.
        """

    def pause(
        self, task_id: str, pause: Pause | None, catch_up: CatchUp
    ) -> Awaitable[None] | None:
        """Pause a task, or resume it; the result is as of `control`."""

    def reschedule(self, task: TaskRecord) -> None:
        """Follow the task's new expression."""

    def report_missed(self, task_id: str, since: float) -> None:
        """Report the slots from `since` to the task's first start as missed."""

    def set_pool(self, name: str | None, limit: int | None) -> None:
        """Set the limit of a pool."""

    def execute(self, task_id: str, execution_id: str, slot: int | None = None) -> None:
        """Request a run; its end arrives as a notice, a refusal goes to the client."""

    def execute_at_once(self, task_id: str, execution_id: str) -> bool:
        """Request a run from any thread; return False if the loop must do so.

        The caller's earlier requests must have been received already.
        """

    def try_call(
        self, task: TaskRecord, completion: Completion[Any], *, is_watched: bool
    ) -> bool:
        """Call the task's worker directly; return whether the call was made.

        From any thread, under the same condition as `execute_at_once`.
        """
