"""What the background half of the client asks of the other half."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping

    from ipycron.client.completion import Waiters
    from ipycron.client.recovery import Action
    from ipycron.errors import SupervisorLost
    from ipycron.process.direct.client_end import Answer
    from ipycron.process.wire.payload import Payload
    from ipycron.process.wire.protocol import Displayed, Register, Streamed
    from ipycron.scheduling.events import Notice
    from ipycron.scheduling.plan import Silence
    from ipycron.scheduling.policy import Policy
    from ipycron.scheduling.ports import Schedule

    LastWords = Mapping[str, Action | None]


class ClientPort(Protocol):
    """What the background half calls: the client, which receives every message."""

    def get_calls(self, task_id: str) -> Waiters | None:
        """Return a task's runs that were called for; None for one that is gone."""

    def take_answers(self, task_id: str, answers: list[Answer]) -> None:
        """Runs have begun and returned, one after the other."""

    def take_notice(self, notice: Notice) -> None:
        """Something happened to a task."""

    def take_refusal(
        self, task_id: str, execution_id: str, error: BaseException
    ) -> None:
        """A run that was asked for cannot be."""

    def take_output(self, message: Streamed | Displayed, payload: Payload) -> None:
        """A worker wrote or displayed something."""

    def take_record(self, record: logging.LogRecord, task_id: str) -> None:
        """A worker made a log record."""

    def take_set_back(self, seconds: float) -> None:
        """The clock was set back, and all slots have been counted anew (C3)."""

    def take_loss(
        self, error: SupervisorLost, last_words: LastWords, *, is_first: bool
    ) -> list[str]:
        """The supervisor is gone; return the ids of tasks to start again.

        `last_words` tells what each task was last told to do and has not done yet.
        Where it is not the first in a row, it is not logged here: see `warn`.
        """

    def warn(self, text: str) -> None:
        """Warn people of what passes, but not by itself."""

    def take_failed_resume(
        self, task_id: str, error: BaseException, silence: Silence, *, is_wanted: bool
    ) -> None:
        """A task did not start again; not `is_wanted`: it was told to stop."""

    def take_destroy(self, task_id: str) -> None:
        """A task that no supervisor can be told of is destroyed."""


class Job(Protocol):
    """What is registered: a background task of the client's."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def expression(self) -> Schedule: ...  # noqa: D102

    @property
    def options(self) -> Policy: ...  # noqa: D102

    @property
    def registration(self) -> Register: ...  # noqa: D102

    @property
    def payload(self) -> Payload: ...  # noqa: D102
