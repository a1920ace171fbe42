"""IPython in a terminal: cells are scheduled, their output is marked by name."""

import re
import sys
import time

import pexpect
import pytest
from polling import eventually

DEADLINE = 60

pytestmark = pytest.mark.filterwarnings("default")


def strip_colours(text):
    """Return a text without a terminal's control sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r", "", text)


class Terminal:
    """IPython at a plain prompt."""

    def __init__(self):
        self._process = pexpect.spawn(
            sys.executable,
            [
                "-m",
                "IPython",
                "--simple-prompt",
                "--no-banner",
                "--no-confirm-exit",
                "--colors=nocolor",
                "--HistoryManager.enabled=False",
            ],
            timeout=DEADLINE,
            encoding="utf-8",
            echo=False,
            dimensions=(50, 400),
        )
        self.read_to_prompt()

    def read_to_prompt(self):
        """Return what is written before the next prompt."""
        self._process.expect(r"In \[\d+\]: ")
        return strip_colours(self._process.before)

    def begin(self, line):
        """Type a line that takes some time."""
        self._process.sendline(line)

    def run(self, line):
        """Type a line; return its output."""
        self._process.sendline(line)
        return self.read_to_prompt()

    def run_cell(self, *lines):
        """Type a cell and the blank lines that end it; return its output."""
        for line in (*lines, "", ""):
            self._process.sendline(line)
        return self.read_to_prompt()

    def expect(self, pattern):
        """Return once a text appears by itself."""
        self._process.expect(pattern)

    def interrupt(self):
        """Press Ctrl-C."""
        self._process.sendintr()

    def leave(self):
        """Type exit; return the last output. Further calls do nothing."""
        if not self._process.isalive():
            return ""
        self._process.sendline("exit")
        self._process.expect(pexpect.EOF)
        self._process.close()
        return strip_colours(self._process.before)

    def kill(self):
        """End it in any state."""
        if self._process.isalive():
            self._process.close(force=True)


@pytest.fixture
def terminal():
    """IPython with the extension loaded."""
    terminal = Terminal()
    try:
        terminal.run("%load_ext ipycron")
        yield terminal
        terminal.leave()
    finally:
        terminal.kill()


def test_cell_prints_above_the_prompt_with_its_name(terminal):
    """Line by line, failures too; the session continues."""
    terminal.run("who = 'world'")
    said = terminal.run_cell(
        "%%cron * * * * * * --name greeter", "print('hello', who)", "!echo from a shell"
    )
    assert "greeter: Every second" in said
    assert "captured: who (str)" in said
    terminal.expect(r"\[greeter\] hello world\r?\n\[greeter\] from a shell\r?\n")
    assert "greeter: stopped" in terminal.run("%cron stop greeter")
    assert "greeter  stopped" in terminal.run("%cron")


def test_views_are_text_at_a_prompt(terminal):
    """A task, and the panel of all tasks, as values."""
    terminal.run_cell("%%cron @yearly --name it --quiet", "1")
    terminal.run("import ipycron")
    for source in ("ipycron.panel()", "ipycron.get_tasks()"):
        said = terminal.run(source)
        assert re.search(r"name +status", said)
        assert not said.startswith("\n")
    assert re.search(r"it +(starting|idle)", terminal.run("ipycron.get_task('it')"))


def test_failure_prints_its_traceback_once(terminal):
    """With the cell's lines, and not again in the log."""
    terminal.run_cell("%%cron @yearly --name bad --run-now", "1 / 0")
    terminal.expect(
        r"\[bad\] .*failed after .*: ZeroDivisionError: division by zero\r?\n"
    )
    terminal.expect(r"\[bad\] ZeroDivisionError: division by zero\r?\n")
    said = terminal.run("%cron run bad --wait")
    title = "ZeroDivisionError: division by zero"

    def read_on():
        nonlocal said
        said += terminal.run("'over'")
        return said.count(title) >= 3

    eventually(read_on, "the run's lines, which come by themselves")
    said += terminal.run("'over'")
    assert said.count(title) == 3
    assert said.count("[bad] ZeroDivisionError: division by zero") == 1


def test_interrupts_at_the_prompt_and_in_a_cell_end_no_task(terminal):
    """Ctrl-C is for what the user is typing or running."""
    terminal.run_cell("%%cron * * * * * * --name it --quiet", "1")
    time.sleep(0.5)  # noqa: TID251 - an interrupt must find readline reading
    terminal.interrupt()
    terminal.read_to_prompt()
    terminal.run("import time, ipycron")
    # A signal just before a sleep's system call is seen after it: many short ones.
    terminal.begin("print('bu' + 'sy'); [time.sleep(0.1) for _ in range(600)]")
    terminal.expect("busy")
    terminal.interrupt()
    assert "KeyboardInterrupt" in terminal.read_to_prompt()
    # By the time it has been waited for, a task of every second may have run again.
    said = terminal.run("%cron wait it --runs 1")
    assert re.search(r"it: [1-9]\d* runs?\b", said)
    assert "0" in terminal.run("ipycron.get_task('it').history.failed")


def test_end_of_the_session_tells_what_was_scheduled(terminal):
    """The last line names the tasks that end with it."""
    terminal.run_cell("%%cron @yearly --name it", "1")
    terminal.run("%cron start it")
    said = terminal.leave()
    assert "still scheduled at the end of this session: it" in said
