"""A 100 MB array as result, from the worker to us, beside multiprocessing.Pool.

python benchmarks/large.py
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path

from figures import NEVER, read_cpu_seconds
from large_job import make_array
from section import Section, exit_with

from ipycron.api.functions import create_task, shutdown
from ipycron.client.registry import registry

POOL = "multiprocessing"
BYTES = 100_000_000
FILE = "import numpy\ndef task(ctx):\n    return numpy.ones(100_000_000, numpy.uint8)\n"


def main(section: Section) -> None:
    """Measure in turns and print."""
    ours, theirs = [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        multiprocessing.get_context("fork").Pool(1) as pool,
    ):
        path = Path(folder) / "job.py"
        path.write_text(FILE)
        task = create_task(NEVER, path, max_result_bytes=2 * BYTES)
        task.start().result(30)
        task.execute().result(30)
        pool.apply(make_array, (BYTES,))
        supervisor = registry.client.supervisor_pid
        assert supervisor is not None
        before = read_cpu_seconds(supervisor)
        for _ in range(section.pick(15, 5)):
            begin = time.perf_counter()
            array = task.execute().result(30)
            assert array[-1] == 1
            del array
            ours.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            array = pool.apply(make_array, (BYTES,))
            assert array[-1] == 1
            del array
            theirs.append(time.perf_counter() - begin)
        spent = (read_cpu_seconds(supervisor) - before) / len(ours)
    shutdown()
    section.add(
        "a 100 MB array as result, p50",
        "ms",
        statistics.median(ours) * 1e3,
        peers={POOL: statistics.median(theirs) * 1e3},
        peer=POOL,
        share=1,
    )
    section.add("the supervisor's part of it, CPU", "ms", spent * 1e3, most=5)


if __name__ == "__main__":
    exit_with(main, __doc__)
