"""Ten minutes of everything at once, and the books of it.

    python benchmarks/soak.py [--seconds 600] [--tasks 200] [--seed 1]

Tasks of every kind, stopped, started, executed, killed and declared again at random;
zygotes and supervisors killed, too; descriptors, processes and the disk that Python is
on refused for a while. In the end every slot of every task is exactly one
of run, missed, overlapped, left to others, or not due; every run has one end; memory
and descriptors are flat; no process is left. Exits 1 where one of these is not so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import random
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soak_books import Books, describe, is_balanced
from soak_refusals import Refusals
from soak_scales import SECONDS_TO_LEAVE, ZYGOTE, Scales, find_children

import ipycron
from ipycron.client.jobs import Cell
from ipycron.client.registry import registry
from ipycron.process.wire.payload import Payload
from ipycron.process.wire.protocol import Preload

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron import Completion, Task

MARK = "IPYCRON_SOAK"
QUIET_SHARE = 0.4
"""Share of the time in which no supervisor is killed, so that one lives long enough to
have its memory judged."""
REFUSED_SHARE = 0.05
"""Share of the time for which each thing is refused."""
ACTIONS_PER_SECOND = 6
KINDS = 21
"""So many tasks are of all kinds that there are."""
DESTROY_SECONDS = 60
MAX_PROBLEMS = 10

JOB = """
import os, random, sys, time
def task(ctx):
    draw = random.random()
    if draw < 0.02:
        raise ValueError("now and then")
    if draw < 0.024:
        os._exit(3)
    if draw < 0.03:
        os.kill(os.getpid(), 9)
    if draw < 0.1:
        time.sleep(random.random() * 1.5)
    if draw < 0.2:
        print("x" * random.randrange(200_000))
    if draw < 0.22:
        return bytearray(1_000_000)
    return os.getpid()
"""
CELL = """
import random
from IPython.display import display
if random.random() < 0.2:
    display({"text/plain": "shown"}, raw=True)
print(ctx.date)
random.random()
"""


def work(context: Any) -> float:
    """Do what a function of the user's does."""
    pause = threading.Event()
    if random.random() < 0.1:
        pause.wait(random.random())
    return context.date.timestamp()


async def work_async() -> None:
    """Do the same as a coroutine."""
    await asyncio.sleep(random.random() * 0.2)


class Chance:
    """A coordinator that elects this instance nine times out of ten."""

    def should_run(self, key: str, lease: float) -> bool:  # noqa: ARG002
        """Return whether this instance runs the slot."""
        return random.random() < 0.9

    def on_complete(self, key: str) -> None:
        """Do nothing: nobody else is there."""


class Population:
    """The tasks; those that end are replaced.

    Args:
        home: the loop of the coroutine functions.
    """

    def __init__(
        self, folder: Path, books: Books, home: asyncio.AbstractEventLoop
    ) -> None:
        self._books = books
        self._home = home
        self._coordinator = Chance()
        self._path = folder / "job.py"
        self._path.write_text(JOB)
        self._cell = Cell(source=CELL, filename="<cell soak>", payload=Payload())
        self.tasks: dict[str, Task] = {}
        self.made: Counter[str] = Counter()
        self.begun = 0
        self.ended = 0

    def declare(self, number: int) -> None:
        """Make a task, in the place of the one that has its name."""
        name = f"soak-{number}"
        before = self.tasks.get(name)
        if before is not None:
            self._books.note_stop(before, time.time())
        kind, make = self._choose(number)
        task = make(name)
        self.made[kind] += 1
        self.tasks[name] = task
        self._books.open(task)
        self.follow(task.start())

    def declare_all(self, numbers: range) -> None:
        """Make several tasks."""
        for number in numbers:
            self.declare(number)

    def note_stops(self) -> None:
        """Tell the books that all tasks stop now."""
        at = time.time()
        for task in self.tasks.values():
            self._books.note_stop(task, at)

    def destroy_all(self) -> None:
        """Destroy all tasks, and forget them and the results of their runs."""
        self.note_stops()
        for completion in [task.destroy() for task in self.tasks.values()]:
            completion.result(DESTROY_SECONDS)
        self.tasks.clear()
        gc.collect()

    def follow(self, completion: Completion[Any]) -> None:
        """Count a completion, and its end; nothing of it is kept."""
        self.begun += 1
        completion.add_done_callback(self._count_end)

    def _count_end(self, completion: Completion[Any]) -> None:
        completion.exception()
        self.ended += 1

    def _choose(self, number: int) -> tuple[str, Callable[[str], Task]]:
        if number % 20 == 0:
            return "spawned", lambda name: self._create(name, launcher="spawn")
        return (
            ("file", self._create),
            ("file", self._create),
            ("cell", lambda name: self._create(name, job=self._cell)),
            ("function", lambda name: self._create(name, job=work, background=True)),
            ("inline", lambda name: self._create(name, job=work)),
            ("coroutine", self._create_coroutine),
        )[number % 6]

    def _create(self, name: str, *, job: Any = None, **options: Any) -> Task:
        every = random.choice((1, 2, 3, 5))
        options |= random.choice(
            (
                {},
                {"no_overlap": True},
                {"jitter": 0.5},
                {"max_executions": random.randrange(2, 40)},
                {"distributed": True, "run_coordinator": self._coordinator},
                {} if job is work else {"timeout": 1.0},
            )
        )
        if job is work and not options.get("background"):
            options.pop("timeout", None)
        return ipycron.create_task(
            f"*/{every} * * * * *",
            job or self._path,
            name=name,
            start_timeout=60,
            max_restarts=20,
            suppress_missed_warning=True,
            **options,
        )

    def _create_coroutine(self, name: str) -> Task:
        async def create() -> Task:
            return self._create(name, job=work_async)

        return asyncio.run_coroutine_threadsafe(create(), self._home).result(30)


class Chaos:
    """Does something to somebody, again and again."""

    def __init__(self, population: Population, books: Books) -> None:
        self._population = population
        self._books = books
        self.done: Counter[str] = Counter()

    def act(self) -> None:
        """Do one thing at random."""
        number = random.randrange(len(self._population.tasks))
        task = self._population.tasks[f"soak-{number}"]
        action = random.choices(
            (self.stop, self.start, self.execute, self.kill, self.redeclare),
            (2, 4, 4, 1, 2),
        )[0]
        action(number, task)
        self.done[action.__name__] += 1

    def stop(self, _: int, task: Task) -> None:
        """Stop a task; now and then without waiting for its run."""
        self._books.note_stop(task, time.time())
        self._population.follow(task.stop(force=random.random() < 0.3))

    def start(self, number: int, task: Task) -> None:
        """Start a task that is stopped; declare one that is gone."""
        if task.status == "destroyed":
            self._population.declare(number)
        else:
            self._population.follow(task.start())

    def execute(self, _: int, task: Task) -> None:
        """Run a task beside its schedule."""
        self._population.follow(task.execute())

    def kill(self, _: int, task: Task) -> None:
        """Kill a task's worker, if it runs just now."""
        for run in task.running:
            if run.pid is not None and run.pid != os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(run.pid, signal.SIGKILL)

    def redeclare(self, number: int, _: Task) -> None:
        """Run the cell again that declares a task."""
        self._population.declare(number)


def find_orphans(mark: str) -> list[str]:
    """Return the commands of processes that this soak has left."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) != os.getpid():
            with contextlib.suppress(OSError):
                if wanted in (path / "environ").read_bytes().split(b"\0"):
                    found.append((path / "cmdline").read_bytes().decode())
    return found


def wait_for_orphans(mark: str) -> list[str]:
    """Return what is left after some time: on a busy machine the dead need it to go."""
    deadline = time.monotonic() + SECONDS_TO_LEAVE
    pause = threading.Event()
    while (left := find_orphans(mark)) and time.monotonic() < deadline:
        pause.wait(0.1)
    return left


def kill_supervisor() -> None:
    """Kill the supervisor: everything below it is lost."""
    pid = registry.client.supervisor_pid
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


def kill_zygote() -> None:
    """Kill the zygote, and with it all forked workers."""
    supervisor = registry.client.supervisor_pid
    with contextlib.suppress(OSError):
        for pid in find_children(supervisor) if supervisor is not None else ():
            if ZYGOTE in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


def refuse(kind: str, seconds: float, chaos: Chaos, refusals: Refusals) -> None:
    """Go on while the system refuses something, and something is to be replaced."""
    pause = threading.Event()
    with refusals.kinds[kind]():
        if kind == "disk":
            kill_supervisor()
        elif kind != "descriptors here":
            kill_zygote()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pause.wait(random.expovariate(ACTIONS_PER_SECOND))
            chaos.act()
    chaos.done[f"{kind} refused"] += 1


def live(seconds: float, chaos: Chaos, scales: Scales, refusals: Refusals) -> float:
    """Let it all happen; return when the quiet time began."""
    began = time.monotonic()
    quiet_at = began + seconds * (1 - QUIET_SHARE)
    blows = [began + seconds * share for share in (0.15, 0.3, 0.45)]
    needs = dict(zip((0.05, 0.2, 0.35, 0.5), refusals.kinds, strict=True))
    needs = {began + seconds * share: kind for share, kind in needs.items()}
    weighed_at = 0.0
    pause = threading.Event()
    while (now := time.monotonic()) < began + seconds:
        pause.wait(random.expovariate(ACTIONS_PER_SECOND))
        chaos.act()
        if blows and now > blows[0]:
            blows.pop(0)
            (kill_zygote if len(blows) == 1 else kill_supervisor)()
            chaos.done["zygote or supervisor killed"] += 1
        if needs and now > min(needs):
            refuse(needs.pop(min(needs)), REFUSED_SHARE * seconds, chaos, refusals)
        if now > weighed_at + 1:
            weighed_at = now
            scales.weigh()
    return quiet_at


def soak(seconds: float, tasks: int) -> bool:
    """Run a soak and print its books; return whether all is well."""
    mark = os.environ[MARK] = uuid.uuid4().hex
    books = Books()
    home = asyncio.new_event_loop()
    threading.Thread(target=home.run_forever, daemon=True).start()
    ipycron.on("*", books.hear)
    with tempfile.TemporaryDirectory() as folder:
        # Not into the user's own history.
        ipycron.set_history(Path(folder) / "history.sqlite")
        refusals = Refusals(Path(folder))
        registry.client.warm(Preload((), shell=True))
        population = Population(Path(folder), books, home)
        population.declare_all(range(KINDS))  # so that all is there that is kept
        population.destroy_all()
        scales = Scales()
        population.declare_all(range(tasks))
        chaos = Chaos(population, books)
        quiet_at = live(seconds, chaos, scales, refusals)
        population.destroy_all()
        print_deeds(population, chaos)
        is_well = scales.judge_memory(quiet_at)
        is_well &= scales.judge_files()
        population.declare_all(range(tasks))  # a shutdown amid starts
        population.note_stops()
        ipycron.shutdown(10)
        refusals.close()
    home.call_soon_threadsafe(home.stop)
    return report(books, population, mark) and is_well


def print_deeds(population: Population, chaos: Chaos) -> None:
    """Print who was there, and what was done to them."""
    made = (f"{count} {kind}" for kind, count in population.made.items())
    done = (f"{count} {what}" for what, count in chaos.done.items())
    print("tasks made:", ", ".join(made))
    print("done to them:", ", ".join(done))


def report(books: Books, population: Population, mark: str) -> bool:
    """Print the books; return whether they balance."""
    total = books.balance()
    open_ends = population.begun - population.ended
    orphans = wait_for_orphans(mark)
    print("\n".join([*describe(total), *books.problems[:MAX_PROBLEMS]]))
    print(f"{'completions never ended':<28}{open_ends:>10,}")
    print(f"{'orphans':<28}{len(orphans):>10,}", *orphans)
    return is_balanced(total) and not open_ends and not orphans


def main() -> int:
    """Soak; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    random.seed(options.seed)
    tasks, seconds = options.tasks, options.seconds
    print(f"seed {options.seed}, {tasks} tasks, {seconds:g} s", flush=True)
    # The thousands of intended failures pass without a word.
    logging.getLogger("ipycron").setLevel(logging.CRITICAL)
    ipycron.set_echo(False)  # its jobs print without an end
    is_well = soak(seconds, tasks)
    print("all accounted for" if is_well else "NOT as it should be")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
