"""The fault matrix: which process gets which signal while a task is in which state.

Each cell has a client of its own, in a process of its own, and real signals. Cells of
one signal run side by side: most of their time is waiting.

By default every other cell, as on a chessboard: each process in each state gets
SIGTERM or SIGKILL, of which the same is expected, and SIGINT or SIGSTOP. `make
test-full` strikes all.
"""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from fault_cell import SHORT_STOP_SECONDS, STOP_SECONDS, Cell, Expected, are_dead
from lengths import IS_FULL
from polling import eventually, pause
from scores import count_score
from watching import find_marked, is_dead

STATES = ("starting", "idle", "running", "stopping")
TARGETS = ("client", "supervisor", "zygote", "worker", "neighbour", "grandchild")
GOAL = 3.0
PATIENCE = 20.0
"""Seconds after which a cell is lost; the table shows the slowest against the goal."""

ENDED = "execution:finished"
STOPPED = "task:stopped"

NORMAL = {
    "starting": Expected("idle", ("task:started",)),
    "idle": Expected("idle"),
    "running": Expected("idle", (ENDED,), execute="ok"),
    "stopping": Expected("stopped", (ENDED, STOPPED), execute="ok", stop="ok"),
}
"""What becomes of the subject where the fault does not concern it."""


def crash(error):
    """Return what becomes of the subject when its worker is lost with `error`."""
    failed, restarted = f"execution:failed {error}", f"task:restarted {error}"
    return {
        "starting": Expected("idle", ("task:started",)),
        "idle": Expected("idle", (restarted,)),
        "running": Expected("idle", (failed, restarted), execute=error),
        "stopping": Expected("stopped", (failed, STOPPED), execute=error, stop="ok"),
    }


def with_gone(table, *gone):
    """Return a table of expectations with the processes that must be gone."""
    return {
        state: replace(expected, gone=frozenset(gone))
        for state, expected in table.items()
    }


SUPERVISOR_LOST = with_gone(
    crash("SupervisorLost"), "supervisor", "zygote", "worker", "neighbour", "grandchild"
)
ZYGOTE_LOST = with_gone(
    crash("WorkerCrashed"), "zygote", "worker", "neighbour", "grandchild"
)
WORKER_LOST = with_gone(crash("WorkerCrashed"), "worker", "grandchild") | {
    "starting": Expected(
        "stopped", (), start="StartError", gone=frozenset({"worker", "grandchild"})
    )
}
WORKER_INTERRUPTED = {
    # The load, or the run, is interrupted, as by Ctrl-C in a program.
    "starting": replace(WORKER_LOST["starting"], start="RemoteError"),
    "idle": WORKER_LOST["idle"],
    "running": Expected(
        "idle", ("execution:failed RemoteError",), execute="RemoteError"
    ),
    "stopping": Expected(
        "stopped",
        ("execution:failed RemoteError", STOPPED),
        execute="RemoteError",
        stop="ok",
    ),
}
WORKER_STOPPED = NORMAL | {
    # It sleeps longer than start_timeout and stop_timeout allow.
    "starting": Expected(
        "stopped", (), start="StartTimeout", gone=frozenset({"worker"})
    ),
    "stopping": Expected(
        "stopped",
        ("execution:failed ExecutionStopped", STOPPED),
        execute="ExecutionStopped",
        stop="ok",
        gone=frozenset({"worker"}),
    ),
}
NEIGHBOUR_LOST = {
    state: replace(
        expected, gone=frozenset({"neighbour"}), restarted=frozenset({"neighbour"})
    )
    for state, expected in NORMAL.items()
}
GRANDCHILD_LOST = with_gone(NORMAL, "grandchild")

MATRIX = {
    ("supervisor", signal.SIGTERM): SUPERVISOR_LOST,
    ("supervisor", signal.SIGKILL): SUPERVISOR_LOST,
    ("supervisor", signal.SIGINT): NORMAL,
    ("supervisor", signal.SIGSTOP): NORMAL,
    ("zygote", signal.SIGTERM): ZYGOTE_LOST,
    ("zygote", signal.SIGKILL): ZYGOTE_LOST,
    ("zygote", signal.SIGINT): NORMAL,
    ("zygote", signal.SIGSTOP): NORMAL,
    ("worker", signal.SIGTERM): WORKER_LOST,
    ("worker", signal.SIGKILL): WORKER_LOST,
    ("worker", signal.SIGINT): WORKER_INTERRUPTED,
    ("worker", signal.SIGSTOP): WORKER_STOPPED,
    ("neighbour", signal.SIGTERM): NEIGHBOUR_LOST,
    ("neighbour", signal.SIGKILL): NEIGHBOUR_LOST,
    ("neighbour", signal.SIGINT): NEIGHBOUR_LOST,
    ("neighbour", signal.SIGSTOP): NORMAL,
    ("grandchild", signal.SIGTERM): GRANDCHILD_LOST,
    ("grandchild", signal.SIGKILL): GRANDCHILD_LOST,
    ("grandchild", signal.SIGINT): GRANDCHILD_LOST,
    ("grandchild", signal.SIGSTOP): NORMAL,
    ("client", signal.SIGSTOP): NORMAL,
}


def find_difference(cell, pids, since, expected):
    """Return what is not yet as expected, or ""."""
    events = cell.get_events("subject", since)
    wrong = [
        f"{name}: {is_!r}, expected {wanted!r}"
        for name, is_, wanted in (
            ("events", tuple(events), expected.events),
            ("start", cell.get_end("start"), expected.start),
            ("execute", cell.get_end("execute"), expected.execute),
            ("stop", cell.get_end("stop"), expected.stop),
        )
        if is_ != wanted
    ]
    wrong += [
        f"{name} is not gone" for name in expected.gone if not is_dead(pids[name])
    ]
    wrong += [
        f"{name} was not restarted"
        for name in expected.restarted
        if "task:restarted WorkerCrashed" not in cell.get_events(name, since)
    ]
    if ENDED not in cell.get_events("bystander", max(since, cell.over_at)):
        wrong.append("the schedule does not go on")
    return "; ".join(wrong)


def run_cell(target, number, state):
    """Return the seconds until a cell was as expected; raise if it never was."""
    cell = Cell(state)
    try:
        pids = cell.wait_ready()
        is_ours = target in ("supervisor", "zygote")
        seconds = SHORT_STOP_SECONDS if is_ours else STOP_SECONDS
        at, cell.over_at = cell.strike(pids[target], number, seconds)
        expected = MATRIX.get((target, number))
        if expected is None:
            everyone = [pid for name, pid in pids.items() if name != "client"]
            eventually(lambda: are_dead(everyone), "everybody is gone")
            eventually(
                lambda: not find_marked(cell.mark), lambda: find_marked(cell.mark)
            )
            return time.monotonic() - cell.over_at
        difference = check_survivors(cell, pids, at, expected[state])
        seconds = time.monotonic() - cell.over_at
        assert not difference, f"{difference}\n{cell.complaints}"
        assert cell.leave(), f"no clean end: {cell.complaints}"
        (last,) = [line["statuses"] for line in cell.lines if "statuses" in line]
        assert last["subject"] == expected[state].status, last
        eventually(
            lambda: not find_marked(cell.mark),
            lambda: f"nobody is left behind: {find_marked(cell.mark)}",
        )
        check_books(cell)
        return seconds
    finally:
        cell.close()


def check_survivors(cell, pids, at, expected):
    """Wait until everything is as expected; return what is not."""
    deadline = time.monotonic() + PATIENCE
    while difference := find_difference(cell, pids, at, expected):
        if time.monotonic() > deadline:
            return difference
        pause(0.02)
    # And it stays like that: nothing happens twice.
    pause(0.3)
    return find_difference(cell, pids, at, expected)


def check_books(cell):
    """Every run that started has ended, exactly once, in the right order."""
    started, ended = [], []
    for line in cell.lines:
        if line.get("event") == "execution:started":
            started.append(line["run"])
        elif line.get("event") in ("execution:finished", "execution:failed"):
            assert line["run"] in started, f"ended before it started: {line}"
            ended.append(line["run"])
    assert sorted(started) == sorted(ended)


def choose_cells(parity):
    """Return the targets, each with its state: all, or the half of this parity."""
    return [
        (target, state)
        for row, target in enumerate(TARGETS)
        for column, state in enumerate(STATES)
        if IS_FULL or (row + column) % 2 == parity
    ]


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("number", "parity", "side_by_side"),
    [
        pytest.param(signal.SIGTERM, 0, 6, id="SIGTERM"),
        pytest.param(signal.SIGKILL, 1, 6, id="SIGKILL"),
        pytest.param(signal.SIGINT, 0, 6, id="SIGINT"),
        pytest.param(signal.SIGSTOP, 1, 12, id="SIGSTOP"),
    ],
)
def test_faults_are_survived_when_any_process_gets(
    number, parity, side_by_side, request
):
    """Whichever process is hit, nothing is lost silently or left behind."""
    cells = choose_cells(parity)
    with ThreadPoolExecutor(side_by_side) as pool:
        futures = {
            cell: pool.submit(run_cell, cell[0], number, cell[1]) for cell in cells
        }
    failures = {}
    for (target, state), future in futures.items():
        error = future.exception()
        if error is not None:
            failures[target, state] = error
        count_score(
            request,
            "faults: a process gets a signal",
            f"{number.name:8}{target}",
            lost=error is not None,
        )
    times = [f.result() for f in futures.values() if f.exception() is None]
    note = f"slowest {max(times, default=0):.1f} s, goal {GOAL:g} s"
    count_score(
        request,
        "faults: a process gets a signal",
        f"{number.name:8}in all",
        tried=0,
        note=note,
    )
    assert not failures, "\n".join(
        f"{target} while {state}: {type(error).__name__}: {error}"
        for (target, state), error in failures.items()
    )
