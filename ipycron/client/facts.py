"""What decides the slots of a task, as the history has it for other processes (T3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ipycron.process.wire.triggers import PlainTrigger, describe_trigger, make_trigger
from ipycron.scheduling.events import to_datetime
from ipycron.scheduling.policy import Policy
from ipycron.triggers.exclusions import (
    Exclusions,  # noqa: TC001 - msgspec reads the annotations
)

if TYPE_CHECKING:
    from datetime import datetime

    from ipycron.cron.trigger import Trigger

MAX_EXCLUSIONS = 16 * 1024
"""Bytes of the windows that are excluded: of more of them, only the text is kept."""


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A trigger and the policies of its task. Instants are Unix seconds.

    Fields may be added; readers leave out those that they do not know.

    Attributes:
        trigger: as it has begun: an interval has its anchor.
        exclude: None if nothing is excluded, or if it takes too much room.
        excluded: what is excluded, for people.
    """

    trigger: PlainTrigger
    start: float | None = None
    end: float | None = None
    exclude: Exclusions | None = None
    excluded: str = ""
    on_excluded: str = "skip"
    overlap: str = "allow"
    max_executions: int | None = None
    catch_up: str = "none"
    retries: int = 0
    pool: str | None = None
    priority: int = 0
    jitter: float = 0.0
    distributed: bool = False

    @property
    def is_cut(self) -> bool:
        """Whether there are exclusions that are not kept."""
        return self.exclude is None and bool(self.excluded)

    def make_trigger(self) -> Trigger:
        """Return the trigger."""
        return make_trigger(self.trigger)

    def make_policy(self, trigger: Trigger) -> Policy:
        """Return the policy that `bound` takes."""
        zone = trigger.timezone
        return Policy(
            start=None if self.start is None else to_datetime(self.start, zone),
            end=None if self.end is None else to_datetime(self.end, zone),
            exclude=self.exclude,
            on_excluded="next" if self.on_excluded == "next" else "skip",
        )

    def list_policies(self) -> str:
        """Return the policies that are no defaults, in the words of the options."""
        said: dict[str, Any] = {
            "overlap": self.overlap if self.overlap != "allow" else None,
            "max_executions": self.max_executions,
            "catch_up": self.catch_up if self.catch_up != "none" else None,
            "retry": self.retries or None,
            "pool": self.pool,
            "priority": self.priority or None,
            "jitter": f"{self.jitter:g} s" if self.jitter else None,
            "on_excluded": self.on_excluded if self.on_excluded != "skip" else None,
            "distributed": "yes" if self.distributed else None,
        }
        return ", ".join(f"{k} {v}" for k, v in said.items() if v is not None)


def make_facts(trigger: Trigger, options: Policy) -> Facts:
    """Return the facts of a task; its bounds are instants, its exclusions values."""
    exclude = options.exclude
    is_small = exclude is not None and _measure(exclude) <= MAX_EXCLUSIONS
    return Facts(
        trigger=describe_trigger(trigger),
        start=_to_seconds(options.start),
        end=_to_seconds(options.end),
        exclude=exclude if is_small else None,
        excluded="" if exclude is None else exclude.text or "exclude",
        on_excluded=options.on_excluded,
        overlap=options.overlap_mode,
        max_executions=options.max_executions,
        catch_up=options.gaps.mode,
        retries=options.retries.times,
        pool=options.pool,
        priority=options.priority,
        jitter=options.jitter,
        distributed=options.distributed,
    )


def _measure(exclude: Exclusions) -> int:
    return len(msgspec.json.encode(exclude))


def _to_seconds(instant: datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()


def write_facts(trigger: Trigger, options: Policy) -> str:
    """Return the facts of a task as JSON."""
    return msgspec.json.encode(make_facts(trigger, options)).decode()


def read_facts(text: str | None) -> Facts | None:
    """Return what `write_facts` has written; None if it is of no use here."""
    try:
        return None if text is None else msgspec.json.decode(text, type=Facts)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None  # of a newer version, or damaged
