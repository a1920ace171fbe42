"""Runs atheris to find inputs that break a target, guided by coverage.

    python fuzz_atheris.py TARGET SECONDS

Writes ``crash-...`` into the working directory for what it finds.
"""

from __future__ import annotations

import resource
import sys

import atheris

GIGABYTE = 1 << 30

with atheris.instrument_imports(include=["ipycron"]):
    import fuzz_targets

    import ipycron.notebook.magic.dispatch
    import ipycron.notebook.magic.grammar
    import ipycron.notebook.magic.options
    import ipycron.notebook.magic.usage  # noqa: F401 - all four: to be watched


def main(name: str, seconds: str) -> None:
    """Fuzz one target; ends the process."""

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


if __name__ == "__main__":
    main(*sys.argv[1:])
