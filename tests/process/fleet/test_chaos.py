"""Eight instances with wrong clocks, killed and restarted at random (D1, D2)."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from chaos_member import TASK
from lengths import choose
from polling import eventually
from scores import scored

SECONDS = choose(short=20, full=60)
MEMBERS = 8
IN_BACKGROUND = 2
"""Of them: with a supervisor, a zygote and a worker each."""
SHORTEST = 12.0
"""Seconds, whatever was asked for: less leaves no slot that every clock has seen."""
SKEW = 2.0
SUPPORT = Path(__file__).parents[2] / "support"
OUTAGE = 1.5
"""Seconds for which the Redis server is away."""


class Fleet:
    """Instances of one task. Each start has its own name: place.generation."""

    def __init__(self, folder, coordinator):
        self._folder = folder
        self._coordinator = coordinator
        self._members = {}
        self._generations = Counter()
        self.killed_pids = set()
        self.pids = {}

    def start(self, place):
        """Start an instance with a wrong clock."""
        self._generations[place] += 1
        name = f"{place}.{self._generations[place]}"
        kind = "background" if place < IN_BACKGROUND else "inline"
        shift = random.uniform(-SKEW, SKEW)
        words = str(self._folder), name, kind, self._coordinator
        with (self._folder / "errors").open("a") as errors:
            self._members[place] = subprocess.Popen(
                [sys.executable, str(SUPPORT / "chaos_member.py"), *words],
                env={
                    **os.environ,
                    "IPYCRON_TEST_SHIFT": str(shift),
                    "PYTHONPATH": str(SUPPORT / "shifted"),
                },
                stdin=subprocess.PIPE,
                stdout=errors,
                stderr=errors,
            )
        self.pids[name] = self._members[place].pid

    def kill(self, place):
        """Kill an instance, like a crash of its machine."""
        member = self._members.pop(place)
        assert member.poll() is None, "an instance ended by itself"
        self.killed_pids.add(member.pid)
        member.kill()
        member.wait(20)
        member.stdin.close()

    def close(self):
        """Kill the remaining instances."""
        for place in list(self._members):
            self.kill(place)

    def read(self, name):
        """Return the lines of a file written by the instances."""
        path = self._folder / name
        if not path.exists():
            return []
        return [line.split() for line in path.read_text().splitlines()]


@pytest.fixture
def make_fleet(tmp_path):
    """Create a fleet whose instances are gone at the end."""
    fleets = []

    def make(coordinator):
        fleets.append(Fleet(tmp_path, coordinator))
        return fleets[-1]

    yield make
    for fleet in fleets:
        fleet.close()


def make_trouble(fleet, seconds, disturb=lambda: None):
    """Kill and restart instances for some seconds; return the slots to judge."""
    began = time.monotonic()
    for place in range(MEMBERS):
        fleet.start(place)
    eventually(lambda: len(fleet.read("ready")) == MEMBERS, "a fleet", 30)
    ready = time.monotonic()
    first = int(read_clock() + SKEW) + 1
    # Every clock must pass the last slot that is judged.
    end = max(began + seconds, ready + SHORTEST) - SKEW - 2
    middle = (ready + end) / 2
    while time.monotonic() < end:
        threading.Event().wait(random.uniform(0.5, 1.5))
        place = random.randrange(MEMBERS)
        fleet.kill(place)
        fleet.start(place)
        if time.monotonic() > middle:
            middle = float("inf")
            disturb()
    last = int(read_clock())
    threading.Event().wait(SKEW + 2)
    return range(first, last)


def read_clock():
    """Return the wall clock's time."""
    return time.time()  # noqa: TID251 - as SystemClock does


def judge(fleet, slots, claims):
    """Count how often each slot ran; return the counts and reasons for losses."""
    runs = Counter(int(slot) for slot, _ in fleet.read("runs"))
    errors = {int(s) for s, _, reason in fleet.read("skips") if reason != "not-elected"}
    counts = Counter()
    for slot in slots:
        claimer = claims.get(slot)
        if runs[slot]:
            counts["once" if runs[slot] == 1 else "twice"] += 1
        elif claimer in fleet.killed_pids:
            counts["lost with its instance"] += 1
        elif claimer is None and slot in errors:
            counts["lost without a server"] += 1
        else:
            counts["lost"] += 1
    return counts


def find_slot(key):
    """Return the slot of a claim."""
    text = key.partition(f"{TASK}:")[2]
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp())


def find_pid(owner):
    """Return the process that holds a claim."""
    return int(owner.split(":")[1])


def check(request, name, fleet, slots, claims):
    """Print every fire's fate; check that none ran twice or was lost silently."""
    counts = judge(fleet, slots, claims)
    by_members = {name.partition(".")[0] for _, name in fleet.read("runs")}
    with scored(request, "fleet in chaos", name) as notes:
        listed = ", ".join(f"{count} {what}" for what, count in counts.items())
        notes.append(
            f"{len(slots)} fires: {listed}; {len(fleet.killed_pids)} kills, "
            f"runs on {len(by_members)} of {MEMBERS} places"
        )
        assert counts["twice"] == 0, "a fire ran twice"
        assert counts["lost"] == 0, "a fire was lost that somebody could have run"
        assert counts["once"] > len(slots) * 0.6, "the fleet was hardly running"


@pytest.mark.timeout(2 * SECONDS + 60)
def test_no_fire_runs_twice_or_is_lost_with_redis(
    make_fleet, make_server, clients, request
):
    """A server that is killed once, but keeps a log, loses no claim."""
    server = make_server("--appendonly", "yes").start()

    def restart():
        server.stop(signal.SIGKILL)
        threading.Event().wait(OUTAGE)
        server.start()

    fleet = make_fleet(f"redis:{server.port}")
    slots = make_trouble(fleet, SECONDS, restart)
    client = clients.make("sync", server.port, decode_responses=True)
    keys = client.keys()
    owners = dict(zip(keys, client.mget(keys), strict=True))
    fleet.close()
    claims = {find_slot(key): find_pid(owner) for key, owner in owners.items()}
    check(request, "Redis", fleet, slots, claims)


@pytest.mark.timeout(2 * SECONDS + 60)
def test_no_fire_runs_twice_or_is_lost_with_sqlite(make_fleet, tmp_path, request):
    """Processes killed in the middle of a claim leave the file intact."""
    path = tmp_path / "claims.db"
    fleet = make_fleet(f"sqlite:{path}")
    slots = make_trouble(fleet, SECONDS)
    fleet.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    rows = connection.execute("SELECT key, owner FROM claims").fetchall()
    connection.close()
    claims = {find_slot(key): find_pid(owner) for key, owner in rows}
    check(request, "SQLite", fleet, slots, claims)
