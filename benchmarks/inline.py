"""Inline tasks, many on one second, beside APScheduler and schedule.

    python benchmarks/inline.py

Each library and each number of tasks has a process of its own. Peers write nothing
down, so beside them neither do we; what the history adds has rows of its own. Exits 1
where a goal is missed.
"""

from __future__ import annotations

import json
import logging
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from figures import NEVER, OURS, get_quantile, measure_lag, read_private_bytes
from section import VARIABLE, Section, exit_with, make_history

if TYPE_CHECKING:
    from collections.abc import Callable

PERIODS = {100: 1, 1_000: 1, 10_000: 5}
"""Seconds between fires by number of tasks: none is asked for more than it can do."""
TURNS = {100: 5, 1_000: 3, 10_000: 1}
"""Processes of each library, one after the other: of a hundred tasks' memory a third is
what a process happened to have free."""
PATIENCE = 60
"""Seconds that a fire may be late before it is given up, for all alike."""
APSCHEDULER = "APScheduler"
SCHEDULE = "schedule"
RECORDED = "recorded"
"""We with a history, as by default."""
MOST_ADDED = 60.0
"""Microseconds of CPU that a row of the history may add to a fire, behaviour H9."""


@dataclass(kw_only=True)
class Load:
    """What so many tasks cost one library. Seconds, bytes."""

    late_p50: float
    late_p99: float
    cpu: float
    memory: float
    lost: float


class Probe:
    """Takes the fires' lateness and what the process used meanwhile."""

    def __init__(self, count: int, rounds: int) -> None:
        self.count = count
        self.period = PERIODS[count]
        self.rounds = rounds
        self.late: list[float] = []
        self._memory = 0

    def weigh(self) -> None:
        """Note the memory before the tasks: the library itself is not theirs."""
        self._memory = read_private_bytes()

    def note(self) -> None:
        """Note a fire: the body of the job."""
        now = time.time()
        self.late.append(now - math.floor(now / self.period) * self.period)

    def sleep_past_slot(self) -> None:
        """Return half a period after a slot."""
        now = time.time()
        time.sleep((math.floor(now / self.period) + 1.5) * self.period - now)

    def take(self, pass_time: Callable[[float], object]) -> Load:
        """Let the rounds pass; return what they cost."""
        memory = (read_private_bytes() - self._memory) / self.count
        self.late.clear()
        cpu = time.process_time()
        pass_time(self.rounds * self.period)
        cpu = (time.process_time() - cpu) / max(1, len(self.late))
        return Load(
            late_p50=get_quantile(self.late, 0.5),
            late_p99=get_quantile(self.late, 0.99),
            cpu=cpu,
            memory=memory,
            lost=max(0, self.rounds * self.count - len(self.late)),
        )


def load_ipycron(probe: Probe) -> Load:
    """Run the tasks on us."""
    from ipycron import schedule, shutdown  # noqa: PLC0415 - not in the peers' memory

    expression = f"*/{probe.period} * * * * *"
    logging.getLogger("ipycron").setLevel(logging.CRITICAL)
    patient = {"tolerance": PATIENCE}
    schedule(NEVER, probe.note).start().result(60)
    probe.weigh()
    tasks = [schedule(expression, probe.note, **patient) for _ in range(probe.count)]
    for task in tasks:
        task.start().result(60)
    probe.sleep_past_slot()
    load = probe.take(time.sleep)
    shutdown()
    return load


def load_apscheduler(probe: Probe) -> Load:
    """Run the tasks on APScheduler."""
    from apscheduler.schedulers.background import (  # noqa: PLC0415 - as above
        BackgroundScheduler,
    )

    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
    patient = {"misfire_grace_time": PATIENCE}
    scheduler = BackgroundScheduler(job_defaults=patient)
    scheduler.start()
    scheduler.add_job(probe.note, "cron", month="1", day="1")
    probe.weigh()
    for _ in range(probe.count):
        scheduler.add_job(probe.note, "cron", second=f"*/{probe.period}")
    probe.sleep_past_slot()
    load = probe.take(time.sleep)
    scheduler.shutdown(wait=False)
    return load


def load_schedule(probe: Probe) -> Load:
    """Run the tasks on schedule, which knows no slots: its own times count."""
    import schedule  # noqa: PLC0415 - as above

    jobs: list[schedule.Job] = []
    probe.weigh()

    def make_job(number: int) -> Callable[[], None]:
        def note() -> None:
            probe.late.append(time.time() - jobs[number].next_run.timestamp())

        return note

    every = schedule.every
    jobs += [
        every(probe.period).seconds.do(make_job(number))
        for number in range(probe.count)
    ]

    def pass_time(seconds: float) -> None:
        end = time.monotonic() + seconds + probe.period / 2
        while time.monotonic() < end:
            schedule.run_pending()
            time.sleep(max(0.0, min(schedule.idle_seconds() or 0, 0.05)))

    return probe.take(pass_time)


LOADS = {
    OURS: load_ipycron,
    RECORDED: load_ipycron,
    APSCHEDULER: load_apscheduler,
    SCHEDULE: load_schedule,
}


def run_apart(name: str, count: int, rounds: int) -> Load:
    """Measure one library in a process of its own."""
    command = [sys.executable, __file__, "--one", name, str(count), str(rounds)]
    environ = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        if name == RECORDED:
            environ[VARIABLE] = str(make_history(folder))
        output = subprocess.check_output(command, text=True, env=environ)
    return Load(**json.loads(output))


def measure_in_turns(count: int, rounds: int, turns: int) -> dict[str, Load]:
    """Return the medians of several processes of each kind; of losses the most."""
    found: dict[str, list[Load]] = {name: [] for name in LOADS}
    for _ in range(turns):
        for name, loads in found.items():
            loads.append(run_apart(name, count, rounds))
    medians = {}
    for name, loads in found.items():
        rows = [asdict(load) for load in loads]
        middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        medians[name] = Load(**middle | {"lost": max(load.lost for load in loads)})
    return medians


def main(section: Section) -> None:
    """Measure and print."""
    costs = {}
    lag = measure_lag(section.pick(6, 2)) * 1e3
    for count in PERIODS:
        rounds = section.pick(3 if count == max(PERIODS) else 6, 2)
        loads = measure_in_turns(count, rounds, section.pick(TURNS[count], 1))
        recorded = loads.pop(RECORDED)
        add_load(section, count, loads, lag)
        add_recorded(section, count, recorded, loads[OURS])
        costs[count] = loads[OURS]
    least, most = costs[min(costs)], costs[max(costs)]
    what = f"inline: cost of {max(costs):,} against {min(costs):,}"
    section.add(f"{what}, CPU a fire", "×", most.cpu / least.cpu, most=1.5)
    section.add(f"{what}, memory a task", "×", most.memory / least.memory, most=1.5)


def add_recorded(section: Section, count: int, recorded: Load, plain: Load) -> None:
    """Print what the history adds, which is on by default."""
    work = f"{name_work(count)}, added by the history"
    cpu = (recorded.cpu - plain.cpu) * 1e6
    section.add(f"{work}, CPU a fire", "µs", cpu, most=MOST_ADDED)
    memory = (recorded.memory - plain.memory) * 1e-3
    section.add(f"{work}, memory a task", "KB", memory)


def name_work(count: int) -> str:
    """Return what is measured, in words."""
    return f"{count:,} inline tasks on one second"


def add_load(section: Section, count: int, loads: dict[str, Load], lag: float) -> None:
    """Print one number of tasks. Ours begin when every clock shows their slot."""
    rows = (
        ("lateness p50", "ms", "late_p50", 1e3),
        ("lateness p99", "ms", "late_p99", 1e3),
        ("CPU a fire", "µs", "cpu", 1e6),
        ("memory a task", "KB", "memory", 1e-3),
        ("fires lost", "", "lost", 1),
    )
    for what, unit, name, scale in rows:
        values = {peer: getattr(load, name) * scale for peer, load in loads.items()}
        goal = {"most": 0} if name == "lost" else {"peer": APSCHEDULER, "share": 1}
        if name.startswith("late"):
            goal["wait"] = lag
        ours = values.pop(OURS)
        section.add(f"{name_work(count)}, {what}", unit, ours, peers=values, **goal)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        _, _, name, count, rounds = sys.argv
        load = LOADS[name](Probe(int(count), int(rounds)))
        print(json.dumps(asdict(load)))
        sys.exit()
    exit_with(main, __doc__)
