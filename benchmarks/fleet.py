"""What an election costs: SQLite and Redis on this machine, asked as tasks ask them.

Needs ``redis-server`` and the extra ``redis``. Run ``python benchmarks/fleet.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import redis
import redis.asyncio

from ipycron.coordinate import RedisRunCoordinator, SQLiteRunCoordinator
from ipycron.coordinate.session import CoordinatorSession

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from ipycron.coordinate import RunCoordinator

GOAL = 0.002
"""Seconds that the median election may take."""

LEASE = 30.0
CONTENDERS = 4


@contextlib.contextmanager
def serve_redis(folder: str) -> Iterator[int]:
    """Run a server without persistence; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    options = {"port": port, "bind": "127.0.0.1", "save": "", "dir": folder}
    command = ["redis-server"]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield port
    finally:
        server.terminate()
        server.wait(10)


def wait_for_port(port: int) -> None:
    """Return when somebody listens on `port`."""
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            threading.Event().wait(0.01)
        else:
            return


async def measure(call: Callable[[int], Awaitable[object]], count: int) -> list[float]:
    """Return the seconds that each of `count` calls took, one after another."""
    took = []
    for number in range(count):
        started = time.perf_counter()
        await call(number)
        took.append(time.perf_counter() - started)
    return took


async def compare(make: Callable[[], RunCoordinator], count: int) -> list[list[float]]:
    """Measure elections that are won, that are lost, that are contended."""
    first, *others = [CoordinatorSession(make()) for _ in range(CONTENDERS)]

    async def contend(number: int) -> None:
        answers = [e.should_run(f"all:{number}", LEASE) for e in (first, *others)]
        assert sorted(await asyncio.gather(*answers)) == [False] * (CONTENDERS - 1) + [
            True
        ]

    await first.should_run("warm", LEASE)
    won = await measure(lambda n: first.should_run(f"one:{n}", LEASE), count)
    lost = await measure(lambda n: others[0].should_run(f"one:{n}", LEASE), count)
    contended = await measure(contend, count)
    for election in (first, *others):
        await election.aclose()
    return [won, lost, contended]


def show(name: str, columns: list[list[float]]) -> bool:
    """Print a line; return whether an election meets the goal."""
    cells = []
    for took in columns:
        cut = statistics.quantiles(took, n=20)
        cells.append(f"{statistics.median(took) * 1e3:8.2f} {cut[-1] * 1e3:6.2f}")
    is_fast = statistics.median(columns[0]) < GOAL
    print(f"{name:<16}{'  '.join(cells)}   {'yes' if is_fast else 'NO'}")
    return is_fast


def main() -> int:
    """Print the table; return 1 if an election is slower than the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500, help="elections of a kind")
    count = parser.parse_args().count
    if shutil.which("redis-server") is None:
        parser.error("redis-server is not installed")
    print("milliseconds: median and 95th percentile")
    print(f"{'':<16}{'won':>15}  {'lost':>15}  {'4 at once':>15}   under 2 ms")
    with (
        tempfile.TemporaryDirectory() as folder,
        serve_redis(folder) as port,
        redis.Redis(port=port) as client,
    ):
        makers: dict[str, Callable[[], RunCoordinator]] = {
            "SQLite": lambda: SQLiteRunCoordinator(Path(folder) / "claims.db"),
            "Redis": lambda: RedisRunCoordinator(client, prefix="sync:"),
            "Redis (asyncio)": lambda: RedisRunCoordinator(
                redis.asyncio.Redis(port=port), prefix="async:"
            ),
        }
        results = [
            show(name, asyncio.run(compare(make, count)))
            for name, make in makers.items()
        ]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
