"""A real Dask scheduler and workers on the loopback interface, in processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from distributed import Client
from distributed.utils import offload
from polling import eventually

START_SECONDS = 40.0


def warm_dask(folder):
    """Have Dask start those threads of this process that stay for good."""
    cluster = Cluster(folder)
    cluster.client.sync(offload, int)
    called = threading.Event()
    future = cluster.client.submit(int)
    future.add_done_callback(lambda _: called.set())
    future.cancel()  # there is no worker
    assert called.wait(START_SECONDS)
    cluster.close()


class Cluster:
    """One scheduler, a test's workers, and a client in this process.

    The workers have no nanny: one that is killed stays away.
    """

    def __init__(self, folder):
        self._folder = Path(folder)
        self._file = self._folder / "scheduler.json"
        # Its web server's own port is taken by the first of two, and the second warns.
        ports = "--port", "0", "--dashboard-address", "127.0.0.1:0"
        words = *ports, "--scheduler-file", str(self._file)
        # If this process is killed, they end by themselves.
        self._scheduler = self._start("dask_scheduler", *words, "--idle-timeout", "60")
        self._workers = {}
        eventually(self._find_address, "a scheduler", START_SECONDS)
        self.client = Client(self._find_address(), set_as_default=False)
        self.client.sync(self._fill_pool)

    async def _fill_pool(self):
        """Open the connections that a test may need: Dask keeps them."""
        ask = self.client.scheduler.identity
        await asyncio.gather(*(ask() for _ in range(8)))

    @property
    def address(self):
        """The scheduler's address."""
        return self._find_address()

    def _find_address(self):
        try:
            return json.loads(self._file.read_text())["address"]
        except (OSError, ValueError):
            return None

    def _start(self, module, *words):
        return subprocess.Popen(
            [
                *(sys.executable, "-m", f"distributed.cli.{module}"),
                *("--host", "127.0.0.1", "--no-dashboard", *words),
            ],
            cwd=self._folder,
            # The jobs of these tests are functions of modules next to this one.
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def add_workers(self, count=2):
        """Start workers of one thread each; return once the scheduler knows them."""
        for _ in range(count):
            worker = self.start_worker()
            self._workers[worker.pid] = worker
        self.client.wait_for_workers(len(self._workers), timeout=START_SECONDS)

    def start_worker(self):
        """Start a worker; return its process, which the caller must end."""
        words = "--no-nanny", "--nthreads", "1", "--local-directory", str(self._folder)
        words += "--death-timeout", "30"
        return self._start("dask_worker", self.address, *words)

    def kill(self, pid, number=signal.SIGKILL):
        """Kill a worker; return once it is gone."""
        worker = self._workers.pop(pid)
        worker.send_signal(number)
        worker.wait(10)

    def kill_all(self):
        """Kill every worker."""
        for pid in list(self._workers):
            self.kill(pid)

    def kill_scheduler(self):
        """Kill the scheduler; return once it is gone."""
        self._scheduler.kill()
        self._scheduler.wait(10)

    def close(self):
        """Shut everything down."""
        self.client.close()
        self.kill_all()
        self.kill_scheduler()
