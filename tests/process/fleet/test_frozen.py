"""An instance suspended for longer than the lease, within the tolerance."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from lengths import choose
from polling import eventually
from scores import scored

import ipycron
from ipycron.errors import InvalidOption
from ipycron.scheduling.clock import SystemClock
from ipycron.scheduling.policy import Policy

SUPPORT = Path(__file__).parents[2] / "support"
LEASE = 0.5
FROZEN = 2.0
"""Seconds past the slot: four leases."""
PERIOD = 10
CHAOS = choose(short=8, full=60)
"""Seconds."""
MEMBER = """
import sys
from functools import partial
sys.path.insert(0, sys.argv[1])
import ipycron
from chaos_member import get_slot, make_coordinator, note, run
folder, name, kind, coordinator = sys.argv[2:]
task = ipycron.create_task(
    "*/%(period)d * * * * *", partial(run, f"{folder}/runs", name), name="beat",
    timezone="UTC", background=kind == "background", distributed=True,
    run_coordinator=make_coordinator(coordinator), distributed_lease=%(lease)s,
    tolerance=20,
)
task.on(
    "execution:skipped",
    lambda c: note(f"{folder}/skips", get_slot(c), name, c.reason),
)
task.start().result(20)
note(f"{folder}/ready", name)
sys.stdin.read()
ipycron.shutdown()
"""
read_clock = SystemClock().now


def read(path):
    """Return the lines of a file written by instances."""
    return path.read_text().splitlines() if path.exists() else []


def find_family(pid):
    """Return an instance's processes: itself, its supervisor and workers."""
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def find_slot():
    """Return the next slot."""
    return (int(read_clock() / PERIOD) + 1) * PERIOD


def signal_all(processes, number):
    """Send a signal to processes, some of which may be gone."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


@pytest.mark.parametrize(
    ("store", "kind"), [("sqlite", "inline"), ("redis", "background")]
)
def test_fire_runs_once_when_an_instance_stood_still_over_it(
    store, kind, tmp_path, make_server
):
    """The claim lasts as long as the slot may still begin anywhere."""
    coordinator = make_store(store, tmp_path, make_server)
    words = MEMBER % {"lease": LEASE, "period": PERIOD}
    program = [sys.executable, "-c", words, str(SUPPORT)]
    members = [
        subprocess.Popen(
            [*program, str(tmp_path), name, kind, coordinator],
            stdin=subprocess.PIPE,
        )
        for name in ("one", "two")
    ]
    try:
        eventually(lambda: len(read(tmp_path / "ready")) == 2, "a fleet", 20)
        frozen = find_family(members[1].pid)
        signal_all(frozen, signal.SIGSTOP)
        slot = find_slot()
        eventually(lambda: f"{slot} one" in read(tmp_path / "runs"), "a run", 20)
        eventually(lambda: read_clock() > slot + FROZEN, "four leases", 20)
        signal_all(frozen, signal.SIGCONT)
        answer = f"{slot} two not-elected"
        eventually(lambda: answer in read(tmp_path / "skips"), "the answer", 20)
        assert f"{slot} two" not in read(tmp_path / "runs")
    finally:
        for member in members:
            os.kill(member.pid, signal.SIGCONT)
            member.stdin.close()
            member.wait(20)


def make_store(store, tmp_path, make_server):
    """Return a coordinator's store, as a command-line argument."""
    if store == "sqlite":
        return f"sqlite:{tmp_path}/claims"
    return f"redis:{make_server().start().port}"


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_no_fire_runs_twice_while_instances_stand_still_at_random(
    store, tmp_path, make_server, request
):
    """Each for longer than the lease, but less than the tolerance."""
    words = make_store(store, tmp_path, make_server), "*/2 * * * * *", str(LEASE), "20"
    kinds = "background", "inline", "inline", "inline"
    members = [
        subprocess.Popen(
            [
                *(sys.executable, str(SUPPORT / "chaos_member.py")),
                *(str(tmp_path), str(place), kind, *words),
            ],
            stdin=subprocess.PIPE,
        )
        for place, kind in enumerate(kinds)
    ]
    frozen = []
    try:
        eventually(lambda: len(read(tmp_path / "ready")) == len(members), "a fleet", 30)
        end = time.monotonic() + CHAOS
        freezes = 0
        while time.monotonic() < end:
            frozen = find_family(random.choice(members).pid)
            signal_all(frozen, signal.SIGSTOP)
            freezes += 1
            threading.Event().wait(random.uniform(2 * LEASE, 5 * LEASE))
            signal_all(frozen, signal.SIGCONT)
            frozen = []
        runs = Counter(line.split()[0] for line in read(tmp_path / "runs"))
        skips = read(tmp_path / "skips")
        with scored(request, "fleet that stands still", store) as notes:
            twice = [slot for slot, count in runs.items() if count > 1]
            notes.append(f"{len(runs)} fires, {freezes} freezes, {len(twice)} twice")
            assert twice == []
            assert len(runs) >= CHAOS / 2 - 2, "the fleet was hardly running"
            assert any("not-elected" in line for line in skips)
    finally:
        signal_all(frozen, signal.SIGCONT)
        for member in members:
            member.stdin.close()
            member.wait(20)


@pytest.mark.parametrize("tolerance", [0, 0.5, 1, 2, 60, 3600])
@pytest.mark.parametrize("lease", [0.1, 0.5, 1, 2, 30, 600])
def test_claim_outlasts_whatever_tolerance(lease, tolerance):
    """By the lease, less the second that a lease of two seconds covers."""
    policy = Policy(distributed_lease=lease, tolerance=tolerance)
    assert policy.claim_lease >= lease
    assert policy.claim_lease >= tolerance + min(lease, max(1, lease - 1))


def test_tolerance_that_no_claim_can_outlast_is_refused():
    """A guarantee that cannot be kept is not given."""
    with pytest.raises(InvalidOption, match=r"a year\) in a fleet"):
        ipycron.create_task(
            "0 9 * * *",
            lambda: 1,
            name="report",
            distributed=True,
            tolerance=timedelta(days=367),
        )
