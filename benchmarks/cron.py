"""How long is one `next`: ipycron beside croniter, cronsim, APScheduler, node-cron.

    python benchmarks/cron.py

Needs the extra `bench`. Every library walks from fire to fire, the way it is meant to
be used, and takes turns with the others, so that a busy machine is busy for all;
node-cron has a process of its own. The best of several rounds counts; each goes through
all there is to measure, so that they lie apart. Exits 1 where a goal is missed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from time import perf_counter
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger
from croniter import CroniterBadDateError, croniter
from cronsim import CronSim
from figures import OURS
from peers import NODE_CRON, ask_node_cron
from section import Section, exit_with

from ipycron.cron import CronExpression

ROUNDS = 8
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

MOST_SHARE = 1 / 5
MOST_UTC = 6e-6
MOST_ZONE = 10e-6
MOST_BUILD = 100e-6
MOST_NEVER = 5e-3

Walk = Callable[[int], object]
Key = tuple[str, str]
"""An expression and a zone."""
BUILD: Key = ("built again", "")


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


def measure(
    works: dict[Key, tuple[dict[str, Walk], int]], rounds: int
) -> dict[Key, dict[str, float]]:
    """Return the best seconds per fire of each walk of each work, by its count."""
    best = {key: dict.fromkeys(walks, math.inf) for key, (walks, _) in works.items()}
    for _ in range(rounds):
        for key, (walks, count) in works.items():
            for name, walk in walks.items():
                begun = perf_counter()
                walk(count)
                seconds = (perf_counter() - begun) / count
                best[key][name] = min(best[key][name], seconds)
    return best


def measure_node_cron() -> dict[tuple[str, str], float]:
    """Return node-cron's seconds per fire by expression and zone."""
    asked = [(text, zone, count) for zone in ZONES for text, count, _ in CASES]
    answer = ask_node_cron("next", asked)
    if answer is None:
        return {}
    keys = [(text, zone) for text, zone, _ in asked]
    return dict(zip(keys, answer["best"], strict=True))


def build(count: int) -> None:
    """Build an expression whose text was read before, again and again."""
    for _ in range(count):
        CronExpression("15 10 * * 1-5")


def add_walk(
    section: Section, expression: str, zone: str, times: dict[str, float]
) -> float:
    """Print one walk; return our part of the best peer's time."""
    micro = {name: seconds * 1e6 for name, seconds in times.items()}
    ours = micro.pop(OURS)
    best = min(micro, key=micro.__getitem__)
    work = f"`next` of `{expression}`, {zone}"
    section.add(work, "µs", ours, peers=dict(micro), peer=best, share=1)
    return ours / micro[best]


def main(section: Section) -> None:
    """Measure and print."""
    node_cron = measure_node_cron()
    works: dict[Key, tuple[dict[str, Walk], int]] = {BUILD: ({OURS: build}, 1000)}
    for zone in ZONES:
        for expression, count, trigger in CASES:
            works[expression, zone] = make_walks(expression, zone, trigger), count
        works[NEVER, zone] = make_never_walks(zone), 1
    best = measure(works, section.pick(ROUNDS, 2))
    built = best.pop(BUILD)[OURS]
    shares = []
    for key, times in best.items():
        theirs = {NODE_CRON: node_cron[key]} if key in node_cron else {}
        shares.append(add_walk(section, *key, times | theirs))
    mean = math.exp(sum(map(math.log, shares)) / len(shares))
    what = "`next`: geometric mean of our parts of the best peer's time"
    section.add(what, "×", mean, most=MOST_SHARE)

    def find_most(expressions: Sequence[str], zones: Sequence[str]) -> float:
        return max(best[text, zone][OURS] for text in expressions for zone in zones)

    utc, zoned = find_most(COMMON, ZONES[:1]), find_most(COMMON, ZONES[1:])
    for what, seconds, most in (
        ("`next` of a common expression, UTC, at most", utc, MOST_UTC),
        ("`next` of a common expression, in a zone, at most", zoned, MOST_ZONE),
        ("an expression built again", built, MOST_BUILD),
        ("an expression that never fires", find_most([NEVER], ZONES), MOST_NEVER),
    ):
        section.add(what, "µs", seconds * 1e6, most=most * 1e6)


if __name__ == "__main__":
    exit_with(main, __doc__)
