"""Runs atheris to find inputs that break a target, guided by coverage.

    python fuzz_atheris.py SECONDS TARGET...

Each target in a process of its own, at the same time: all are forks of this one, which
instruments what they import. Writes into the working directory what each has printed
(``TARGET.log``), an input for what it finds (``crash-...``), and the exit codes of all
(``codes.json``).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import sys
from pathlib import Path

import atheris

GIGABYTE = 1 << 30

with atheris.instrument_imports(include=["ipycron"]):
    import fuzz_targets

    import ipycron.notebook.magic.dispatch
    import ipycron.notebook.magic.grammar
    import ipycron.notebook.magic.options
    import ipycron.notebook.magic.usage  # noqa: F401 - all four: to be watched


def fuzz(name: str, seconds: str) -> None:
    """Fuzz one target; ends the process."""
    log = os.open(f"{name}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)

    def try_one(data: bytes) -> None:
        if name in fuzz_targets.BYTES:
            fuzz_targets.BYTES[name](data)
        else:
            text = atheris.FuzzedDataProvider(data).ConsumeUnicode(len(data))
            fuzz_targets.TEXTS[name](text)

    # libFuzzer's own limit looks at the highest memory ever, which a process inherits
    # from the one that started it.
    resource.setrlimit(resource.RLIMIT_DATA, (GIGABYTE, GIGABYTE))
    limits = [f"-max_total_time={seconds}", "-max_len=4096", "-rss_limit_mb=0"]
    atheris.Setup([sys.argv[0], *limits, "-timeout=10"], try_one)
    atheris.Fuzz()


def main(seconds: str, *names: str) -> None:
    """Fuzz all targets side by side."""
    start = multiprocessing.get_context("fork").Process
    running = {name: start(target=fuzz, args=(name, seconds)) for name in names}
    for process in running.values():
        process.start()
    for process in running.values():
        process.join()
    codes = {name: process.exitcode for name, process in running.items()}
    Path("codes.json").write_text(json.dumps(codes))


if __name__ == "__main__":
    main(*sys.argv[1:])
