"""Control sequences of a job never reach a terminal; only colours do."""

import contextlib
import logging
import os
import pty
import re
import subprocess
import sys

import pytest
from house import NEVER
from polling import SECONDS, eventually

import ipycron
from ipycron.process.wire.printable import keep_colours

RED = "\x1b[31m"
BAD = {
    "title": "\x1b]0;owned\x07",
    "title to the end": "\x1b]2;owned",
    "link": "\x1b]8;;http://owned\x1b\\here\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;b3duZWQ=\x07",
    "screen": "\x1b[2J\x1b[3J\x1b[H",
    "cursor": "\x1b[1A\x1b[5;5H\x1b[s\x1b[u",
    "modes": "\x1b[?1049h\x1b[?25l",
    "report": "\x1b[6n\x1b[c",
    "device": "\x1bP+q544e\x1b\\",
    "application": "\x1b_owned\x1b\\",
    "reset": "\x1bc",
    "character set": "\x1b(0",
    "C1": "\x9b2J\x9d0;owned\x9c\x90x\x9c",
    "bell": "\x07\x08\x0e",
}
FORBIDDEN = re.compile(r"\x1b(?!\[[0-9;:]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]")


@pytest.mark.parametrize("kind", BAD)
def test_only_colours_and_text_remain(kind):
    """Whatever surrounds a sequence remains, too."""
    shown = keep_colours(f"before {RED}{BAD[kind]} after")
    assert not FORBIDDEN.search(shown)
    assert shown.startswith(f"before {RED}")
    assert "owned" not in shown


ALL = "".join(BAD[kind] for kind in BAD if kind != "title to the end")
JOB = f"""
import logging, sys
bad = {ALL!r}
class Odd:
    pass
Odd.__name__ = Odd.__qualname__ = "Odd" + bad
class Failure(Exception):
    pass
Failure.__name__ = Failure.__qualname__ = "Failure" + bad
def task():
    print("\\x1b[31mred" + bad)
    print("err" + bad, file=sys.stderr)
    logging.getLogger("job" + bad).warning("warned" + bad)
    if len(sys.argv) > 1:
        raise Failure("failed" + bad)
    return Odd()
"""


@pytest.mark.parametrize("args", [[], ["fail"]])
def test_command_prints_no_control_sequences(write, args):
    """`ipycron run` in a terminal: only its table moves the cursor."""
    text = run_in_terminal(
        "-m",
        "ipycron",
        "run",
        "--prefix",
        "--max",
        "1",
        "* * * * * *",
        write(JOB),
        *args,
    )
    assert "red" in text
    assert not FORBIDDEN.search(text), FORBIDDEN.findall(text)


def test_script_prints_no_control_sequences_of_its_tasks(write, tmp_path):
    """Output of background tasks on a script's console."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, ipycron\n"
        "task = ipycron.create_task('0 0 1 1 *', sys.argv[1])\n"
        "task.start().result(20)\n"
        "task.execute().result(20)\n"
        "ipycron.shutdown()\n"
    )
    text = run_in_terminal(program, write(JOB))
    assert "red" in text
    assert not FORBIDDEN.search(text), FORBIDDEN.findall(text)


def run_in_terminal(*command):
    """Return what a Python program prints to its own terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, *command], stdout=theirs, stderr=theirs)
    os.close(theirs)
    data = b""
    with contextlib.suppress(OSError), os.fdopen(ours, "rb", buffering=0) as file:
        while part := file.read(4096):
            data += part
    assert process.wait(20) in (0, 1)
    return data.decode().replace("\r\n", "\n")


class Lines(logging.Handler):
    """Stores what a handler would write."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        """Write a record."""
        self.lines.append(logging.Formatter("%(name)s %(message)s").format(record))


@pytest.mark.parametrize("args", [(), ("fail",)])
def test_what_a_job_makes_is_shown_without_control_sequences(write, args):
    """Logs, reprs, summaries, and errors printed by IPython and Python."""
    handler = Lines()
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        task = ipycron.create_task(NEVER, write(JOB), args=args, name=f"t{ALL}")
        task.start().result(SECONDS)
        error = task.execute().exception(SECONDS)
        eventually(lambda: "warned" in "".join(handler.lines), handler.lines)
    finally:
        root.removeHandler(handler)
    run = task.last_run
    shown = [
        repr(task),
        repr(run),
        run.summary,
        run.traceback_text or "",
        *handler.lines,
    ]
    if args:
        shown += error._render_traceback_()
    for text in shown:
        assert not FORBIDDEN.search(text), repr(text)
