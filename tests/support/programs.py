"""Other people's programs that use ipycron, run in their own processes."""

import contextlib
import os
import re
import signal
import subprocess
import textwrap
import threading
import time
from pathlib import Path

from polling import SECONDS, eventually
from watching import MARK, find_marked

PATIENCE = 60.0
"""Seconds for a program: on a busy machine its interpreters take their time."""

TICK = """
from pathlib import Path
import os

def task():
    with Path({ticks!r}).open("a") as file:
        file.write(f"{{os.getppid()}}\\n")
"""


class Program:
    """A program in its own folder; its lines are read as they arrive.

    Attributes:
        process: its first process.
        stdout: the lines of its stdout so far.
        stderr: those of its stderr.
    """

    def __init__(self, folder, *command, **environment):
        self.mark = os.urandom(8).hex()
        self.folder = folder
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, MARK: self.mark, **environment},
            start_new_session=True,
        )
        self.stdout, self.stderr = [], []
        self._readers = [
            threading.Thread(target=self._read, args=pair)
            for pair in (
                (self.process.stdout, self.stdout),
                (self.process.stderr, self.stderr),
            )
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream, lines):
        lines.extend(line.rstrip("\n") for line in stream)

    def count_ticks(self):
        """Return how often the job of `TICK` has run."""
        with contextlib.suppress(FileNotFoundError):
            return len((self.folder / "ticks").read_text().splitlines())
        return 0

    def wait_ticks(self, count=1, seconds=PATIENCE):
        """Return once the job has run so many more times."""
        wanted = self.count_ticks() + count
        eventually(
            lambda: self.count_ticks() >= wanted or self.process.poll() is not None,
            f"run {wanted}; stderr: {self.stderr[-20:]}",
            seconds,
        )
        assert self.count_ticks() >= wanted, (self.stdout, self.stderr)

    def wait_line(self, part, seconds=PATIENCE):
        """Return once a line containing this was printed, on either stream."""

        def is_there():
            return any(part in line for line in [*self.stdout, *self.stderr])

        eventually(
            lambda: is_there() or self.process.poll() is not None,
            f"it prints {part}; {self.stdout}, {self.stderr[-20:]}",
            seconds,
        )
        assert is_there(), (self.stdout, self.stderr)

    def end(self, number=signal.SIGTERM, seconds=PATIENCE):
        """Send a signal to the first process; return the seconds until its end."""
        begin = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(seconds)
        return time.monotonic() - begin

    def find_ours(self):
        """Return the processes that ipycron has started for the program."""
        found = []
        for pid in find_marked(self.mark):
            with contextlib.suppress(OSError):
                if b"ipycron.process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    def wait_gone(self):
        """Return once ipycron's processes for the program are gone."""
        eventually(lambda: not self.find_ours(), "ours are gone")

    def wait(self, seconds=PATIENCE):
        """Return the exit code; no process of the program may be left."""
        code = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(SECONDS)
        eventually(lambda: not find_marked(self.mark), "nothing is left")
        return code

    def close(self):
        """Kill it and everything that it has started."""
        for pid in {*find_marked(self.mark), self.process.pid}:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for reader in self._readers:
            reader.join(SECONDS)
        self.process.stdout.close()
        self.process.stderr.close()


def find_complaints(stderr):
    """Return a program's lines on stderr, without those about a busy machine's slots.

    There, a slot may come too late, or while the run before is not over.
    """
    usual = re.compile(r"task '.*': (missed|skipped) ")
    return [line for line in stderr.splitlines() if not usual.match(line)]


def write_files(folder, **sources):
    """Write modules into a folder, and ``tick.py``, which counts its runs."""
    sources.setdefault("tick", TICK.format(ticks=str(folder / "ticks")))
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(source))
