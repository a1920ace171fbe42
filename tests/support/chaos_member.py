"""One instance of a fleet, until it is killed.

    python chaos_member.py FOLDER NAME inline|background sqlite:PATH|redis:PORT
        [EXPRESSION LEASE TOLERANCE]

Appends to FOLDER/runs ``slot name`` for each run, before it does anything else, and to
FOLDER/skips ``slot name reason`` for each slot that it leaves.
"""

from __future__ import annotations

import os
import sys
import threading
from functools import partial

import redis

import ipycron
from ipycron.coordinate import RedisRunCoordinator, SQLiteRunCoordinator

LEASE = 300.0
"""Longer than any test: at its end the claims tell who took what."""
TASK = "beat"
RUN_SECONDS = 0.05


def note(path, *words):
    """Append a line in one write, so that other processes cannot interleave."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
    os.close(descriptor)


def get_slot(context):
    """Return the slot in Unix seconds."""
    return int(context.date.timestamp())


def run(path, name, ctx):
    """Run briefly, during which a kill may happen."""
    note(path, get_slot(ctx), name)
    threading.Event().wait(RUN_SECONDS)


def make_coordinator(text):
    """Return the coordinator named on the command line."""
    kind, _, where = text.partition(":")
    if kind == "sqlite":
        return SQLiteRunCoordinator(where)
    return RedisRunCoordinator(redis.Redis(port=int(where), socket_timeout=2))


def end_with_parent():
    """Exit when the other end of stdin is closed: the test is gone."""
    sys.stdin.read()
    os._exit(0)


def main(  # noqa: PLR0917 - the words of a command line
    folder, name, kind, coordinator, expression="* * * * * *", lease=LEASE, tolerance=1
):
    """Schedule the task and wait."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    task = ipycron.create_task(
        expression,
        partial(run, f"{folder}/runs", name),
        name=TASK,
        background=kind == "background",
        distributed=True,
        run_coordinator=make_coordinator(coordinator),
        distributed_lease=float(lease),
        tolerance=float(tolerance),
    )
    task.on(
        "execution:skipped",
        lambda context: note(
            f"{folder}/skips", get_slot(context), name, context.reason
        ),
    )
    task.start().result(30)
    note(f"{folder}/ready", name)
    ipycron.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
