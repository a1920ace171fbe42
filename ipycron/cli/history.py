"""`ipycron history` and `ipycron logs`: what happened, from the file."""

from __future__ import annotations

import argparse
import csv
import json
import sys
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ipycron.api.text_table import find_room
from ipycron.process.wire.printable import keep_colours, show_hidden
from ipycron.triggers.durations import read_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipycron.api.run_list import History
    from ipycron.runlog.following import Follower
    from ipycron.runlog.records import RunRecord

SHOWN_RUNS = 50
POLL = 0.5
"""Seconds between two looks at the file for `-f`."""


def add_history(commands: Any) -> None:
    """Add the command `history`."""
    parser = commands.add_parser(
        "history",
        help="list what happened",
        description="List what happened to tasks, the newest first: each run, and each "
        "slot that did not run, of all programs of this user.",
        epilog="--json writes an object for each line (jq reads that; jq -s makes an "
        "array of it), --csv a head and rows; both have all columns, instants in ISO "
        "8601 with their offset. IPYCRON_HISTORY is the path of the file.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which tasks (all)")
    parser.add_argument(
        "--last",
        type=_duration,
        metavar="TIME",
        help="not older than this: 90, 10m, 24h, 7d",
    )
    parser.add_argument(
        "--failed",
        action="store_true",
        help="failures only: also timeouts, crashes and lost runs",
    )
    count = f"how many at most ({SHOWN_RUNS})"
    parser.add_argument("-n", type=_count, default=SHOWN_RUNS, help=count)
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="write JSON lines")
    forms.add_argument("--csv", action="store_true", help="write CSV")
    parser.set_defaults(run=_list_history)


def add_logs(commands: Any) -> None:
    """Add the command `logs`."""
    parser = commands.add_parser(
        "logs",
        help="print what a run wrote",
        description="Print what the last run of a task wrote, and its traceback.",
    )
    parser.add_argument("name", metavar="NAME", help="the task")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--run", dest="run_id", metavar="ID", help="another run, as history lists it"
    )
    which.add_argument(
        "-f",
        "--follow",
        action="store_true",
        help="go on with each further run when it ends, until Ctrl-C",
    )
    parser.set_defaults(run=_print_logs)


def _duration(text: str) -> float:
    """Return seconds; `argparse` makes one line of the error."""
    seconds = read_duration(text)
    if not seconds:
        raise argparse.ArgumentTypeError(
            f"got {text!r}, expected a time such as 90, 10m, 24h or 7d"
        )
    return seconds


def _count(text: str) -> int:
    """Return a number of runs, likewise."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number from 1")
    return int(text)


def _list_history(given: argparse.Namespace) -> int:
    from ipycron.api import history as api  # noqa: PLC0415 - as the others

    api.require_path()
    found = api.history(
        given.names or None,
        since=None if given.last is None else timedelta(seconds=given.last),
        outcome="failures" if given.failed else None,
        limit=given.n,
    )
    if not found:
        api.check_known(given.names)
    if given.json:
        _write_json(found)
    elif given.csv:
        _write_csv(found)
    else:
        _write_table(found)
    return 0


def _write_table(found: History) -> None:
    from ipycron.api.run_list import write_table  # noqa: PLC0415 - as the others

    print(write_table(found, room=find_room()) if found else "nothing happened")
    if not found.is_complete:
        sys.stdout.flush()
        print(f"only the newest {len(found)}: -n lists more", file=sys.stderr)


def _write_json(found: Iterable[RunRecord]) -> None:
    from ipycron.runlog.records import to_plain  # noqa: PLC0415 - as the others

    for record in found:
        print(json.dumps(to_plain(record)))  # ASCII: safe in any terminal


def _write_csv(found: Iterable[RunRecord]) -> None:
    from ipycron.runlog.records import FIELDS, to_plain  # noqa: PLC0415 - as the others

    writer = csv.DictWriter(sys.stdout, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(to_plain, found))


def _print_logs(given: argparse.Namespace) -> int:
    from ipycron.api import history  # noqa: PLC0415 - as the others

    history.require_path()
    if given.run_id is not None:
        _print_run(history.find_run(given.name, given.run_id))
        return 0
    follower = history.follow(given.name) if given.follow else None
    last = history.read_last_run(given.name)
    running = history.read_running(given.name)
    if last is not None:
        _print_run(last)
    elif follower is None and not running:
        history.check_known([given.name])
        print(f"{_show_name(given.name)}: no run of it is in the history")
    sys.stdout.flush()
    for record in running:
        _note(f"{_describe(record)}: what it writes is here when it ends")
    if follower is not None:
        if last is None and not running:
            _note(f"{_show_name(given.name)}: waiting for its first run")
        _follow(follower, last)
    return 0


def _note(text: str) -> None:
    """Print what is not a part of the answer."""
    print(text, file=sys.stderr, flush=True)


def _follow(follower: Follower, last: RunRecord | None) -> None:
    """Print each run when it has ended, and each slot that does not run."""
    pause = threading.Event()  # never set
    while True:
        pause.wait(POLL)
        for record in follower.read():
            # It may have ended between the two first looks.
            if last is None or record.id != last.id:
                _print_run(record)
        sys.stdout.flush()


def _show_name(name: str) -> str:
    return show_hidden(" ".join(name.split()))


def _describe(record: RunRecord) -> str:
    from ipycron.api.run_list import describe_run  # noqa: PLC0415 - as the others

    return describe_run(record)


def _print_run(record: RunRecord) -> None:
    """Print a line about a run, what it wrote and its traceback."""
    print(_describe(record))
    # To a pipe or a file unchanged; a terminal would carry out what is in the text.
    show = keep_colours if sys.stdout.isatty() else str
    for text in (record.output, record.traceback):
        if text:
            print(show(text), end="" if text.endswith("\n") else "\n")
