"""Tests of schedules without waiting.

`time_travel` moves the time of your own tasks. The rest of `ipycron.testing` is for
tests of a scheduler itself: fake time, fake workers, recorded events.

`Every` is a simple schedule; an `ipycron.cron.CronExpression` serves as well.

>>> import asyncio
>>> from ipycron.testing import *
>>> from ipycron.scheduling.policy import Policy
>>> from ipycron.scheduling.scheduler import Scheduler
>>> async def main():
...     clock, events = FakeClock(0), RecordedEvents()
...     launcher = FakeLauncher(clock, script=Script(run_seconds=90))
...     scheduler = Scheduler(clock=clock, launcher=launcher, emit=events)
...     scheduler.add("t", name="t", schedule=Every(60), policy=Policy(no_overlap=True))
...     await scheduler.start("t")
...     await clock.advance(180)
...     await clock.pass_until(scheduler.shutdown(5))
...     for notice in events.notices:
...         print(f"{notice.triggered_at:5.0f} {notice.event}")
>>> asyncio.run(main())
    0 task:started
   60 execution:started
  120 execution:overlap
  150 execution:finished
  180 execution:started
  185 execution:failed
  185 task:stopped
  185 task:destroyed
"""

from __future__ import annotations

from ipycron.lazy import make_getattr

TYPE_CHECKING = False  # as in ipycron's `__init__`: every run of pytest imports this
if TYPE_CHECKING:
    from ipycron.testing.clock import FakeClock
    from ipycron.testing.recorder import RecordedEvents
    from ipycron.testing.schedule import Every
    from ipycron.testing.travel import TravelClock, time_travel
    from ipycron.testing.workers import FakeLauncher, FakeWorker, Script

__all__ = [
    "Every",
    "FakeClock",
    "FakeLauncher",
    "FakeWorker",
    "RecordedEvents",
    "Script",
    "TravelClock",
    "time_travel",
]

__getattr__ = make_getattr(
    __name__,
    {
        "ipycron.testing.clock": ("FakeClock",),
        "ipycron.testing.recorder": ("RecordedEvents",),
        "ipycron.testing.schedule": ("Every",),
        "ipycron.testing.travel": ("TravelClock", "time_travel"),
        "ipycron.testing.workers": ("FakeLauncher", "FakeWorker", "Script"),
    },
)


def __dir__() -> list[str]:
    return list(__all__)
