"""How long is one `next`: ipycron beside croniter, cronsim and APScheduler.

Run ``python benchmarks/cron.py``. Needs the extra `bench`. Every
library walks from fire to fire, the way it is meant to be used, and takes turns with
the others, so that a busy machine is busy for all. The best of several rounds counts.
Exits with 1 if a goal is missed.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from datetime import datetime
from time import perf_counter
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger
from croniter import CroniterBadDateError, croniter
from cronsim import CronSim

from ipycron.cron import CronExpression

ROUNDS = 7
ZONES = ("UTC", "America/New_York", "Australia/Lord_Howe")
START = datetime(2026, 1, 1)  # noqa: DTZ001 - each zone puts itself in

MINUTELY = {"second": "0"}
DAILY = {"second": "0", "minute": "0", "hour": "0"}
WEEK = "mon-fri"

# Expression, fires in a walk, and the same for APScheduler, which has a grammar of
# its own; None where a library cannot say it.
CASES: tuple[tuple[str, int, dict[str, str] | None], ...] = (
    ("* * * * *", 1500, MINUTELY),
    ("*/5 * * * *", 1000, MINUTELY | {"minute": "*/5"}),
    ("0 3 * * *", 400, DAILY | {"hour": "3"}),
    ("0 0 1 * *", 120, DAILY | {"day": "1"}),
    ("0 0 29 2 *", 10, DAILY | {"month": "2", "day": "29"}),
    ("15 10 * * 1-5", 400, DAILY | {"hour": "10", "minute": "15", "day_of_week": WEEK}),
    ("0 0 * * 5#3", 120, DAILY | {"day": "3rd fri"}),
    ("0 12 L * *", 120, DAILY | {"hour": "12", "day": "last"}),
    ("*/5 * * * * *", 1500, {"second": "*/5"}),
    ("0 9 15W * *", 120, None),
)
COMMON = ("* * * * *", "*/5 * * * *", "0 3 * * *", "15 10 * * 1-5")
# Read with both day fields, so that each library has to walk to its limit.
NEVER = "0 0 */100 * mon#4"

LEAST_RATIO = 5.0
MOST_UTC = 6e-6
MOST_ZONE = 10e-6
MOST_BUILD = 100e-6
MOST_NEVER = 5e-3

Walk = Callable[[int], object]


def make_walks(
    expression: str, zone: str, trigger: dict[str, str] | None
) -> dict[str, Walk]:
    """Return, for each library that knows the expression, a walk of n fires."""
    start = START.replace(tzinfo=ZoneInfo(zone))
    walks: dict[str, Walk] = {
        "ipycron": walk_ipycron(expression, start),
        "croniter": walk_croniter(expression, start),
    }
    if "W" not in expression:
        walks["cronsim"] = walk_cronsim(expression, start)
    if trigger is not None:
        walks["APScheduler"] = walk_apscheduler(trigger, start)
    return walks


def walk_ipycron(expression: str, start: datetime) -> Walk:
    """Return a walk by `CronExpression.next`."""
    schedule = CronExpression(expression, start.tzinfo)

    def walk(count: int) -> None:
        moment: datetime | None = start
        for _ in range(count):
            assert moment is not None
            moment = schedule.next(moment)

    return walk


def walk_croniter(expression: str, start: datetime) -> Walk:
    """Return a walk by croniter."""
    has_seconds = len(expression.split()) == 6

    def walk(count: int) -> None:
        fires = croniter(expression, start, second_at_beginning=has_seconds)
        for _ in range(count):
            fires.get_next(datetime)

    return walk


def walk_cronsim(expression: str, start: datetime) -> Walk:
    """Return a walk by cronsim."""

    def walk(count: int) -> None:
        fires = CronSim(expression, start)
        for _ in range(count):
            next(fires)

    return walk


def walk_apscheduler(trigger: dict[str, str], start: datetime) -> Walk:
    """Return a walk by APScheduler's trigger, whose unnamed fields are "*"."""
    cron_trigger = CronTrigger(timezone=start.tzinfo, **trigger)

    def walk(count: int) -> None:
        moment = start
        for _ in range(count):
            moment = cron_trigger.get_next_fire_time(moment, moment)

    return walk


def make_never_walks(zone: str) -> dict[str, Walk]:
    """Return, for each library, a search that finds nothing."""
    start = START.replace(tzinfo=ZoneInfo(zone))
    schedule = CronExpression(NEVER, zone, day_or=False)

    def search_croniter(_: int) -> None:
        try:
            croniter(NEVER, start, day_or=False).get_next(datetime)
        except CroniterBadDateError:
            return
        raise AssertionError

    return {
        "ipycron": lambda _: schedule.next(start),
        "croniter": search_croniter,
        "cronsim": lambda _: next(CronSim(NEVER, start), None),
    }


def measure(walks: dict[str, Walk], count: int) -> dict[str, float]:
    """Return the best seconds per fire of each walk, measured in turns."""
    best = dict.fromkeys(walks, math.inf)
    for _ in range(ROUNDS):
        for name, walk in walks.items():
            begun = perf_counter()
            walk(count)
            best[name] = min(best[name], (perf_counter() - begun) / count)
    return best


def measure_build() -> float:
    """Return the seconds to build an expression whose text was read before."""
    build: dict[str, Walk] = {
        "ipycron": lambda n: [CronExpression("15 10 * * 1-5") for _ in range(n)]
    }
    return measure(build, 1000)["ipycron"]


def print_row(expression: str, zone: str, times: dict[str, float]) -> float:
    """Print one line of the table; return best peer over ours."""
    ratio = min(time for name, time in times.items() if name != "ipycron")
    ratio /= times["ipycron"]
    cells = (
        f"{times[name] * 1e6:10.2f}" if name in times else f"{'-':>10}"
        for name in ("ipycron", "cronsim", "croniter", "APScheduler")
    )
    print(f"{expression:18}{zone:20}{''.join(cells)}{ratio:8.1f}x")
    return ratio


def main() -> int:
    """Print the table and the goals; return the exit code."""
    print("microseconds per next fire; the ratio is the best peer over ipycron")
    heads = ("ipycron", "cronsim", "croniter", "APSched.")
    print(
        f"{'expression':18}{'zone':20}{''.join(f'{h:>10}' for h in heads)}{'ratio':>9}"
    )
    ratios, common, never = [], dict.fromkeys(ZONES, 0.0), 0.0
    for zone in ZONES:
        for expression, count, trigger in CASES:
            times = measure(make_walks(expression, zone, trigger), count)
            ratios.append(print_row(expression, zone, times))
            if expression in COMMON:
                common[zone] = max(common[zone], times["ipycron"])
        times = measure(make_never_walks(zone), 1)
        ratios.append(print_row(NEVER, zone, times))
        never = max(never, times["ipycron"])
    print("node-cron is not in this run: it would need npm")
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    zoned = max(common[zone] for zone in ZONES[1:])
    build = measure_build()
    goals = (
        (mean >= LEAST_RATIO, f"geometric mean of the ratios {mean:.1f}, at least 5"),
        (min(ratios) >= 1, f"least ratio {min(ratios):.1f}, never below 1"),
        (common["UTC"] <= MOST_UTC, f"common in UTC {common['UTC'] * 1e6:.1f} us of 6"),
        (zoned <= MOST_ZONE, f"common in a zone {zoned * 1e6:.1f} us of 10"),
        (build <= MOST_BUILD, f"built again in {build * 1e6:.1f} us of 100"),
        (never <= MOST_NEVER, f"never fires known in {never * 1e3:.2f} ms of 5"),
    )
    for is_met, text in goals:
        print(f"{'met   ' if is_met else 'MISSED'}  {text}")
    return 0 if all(is_met for is_met, _ in goals) else 1


if __name__ == "__main__":
    sys.exit(main())
