"""Whether a process stays alive is its host's decision, unless a script just ends."""

import signal
import sys

import pytest

SCHEDULE = 'ipycron.schedule("* * * * * *", "tick.py", name="tick")\n'
PYTHON = (sys.executable, "-W", "error", "app.py")
QUICK = 10.0
"""Seconds for an end that takes 0.2 to 0.5 on a quiet machine."""

ENDS = {
    "sys.exit": ("import sys; sys.exit(3)", 3),
    "raise SystemExit": ("raise SystemExit(3)", 3),
    "exit in a function": ("def main():\n    exit(3)\nmain()", 3),
    "exit through finally": ("try:\n    exit(3)\nfinally:\n    ended = True", 3),
    "exception": ("1 / 0", 1),
    "exception with a hook": ("import sys; sys.excepthook = print\n1 / 0", 1),
    "assert in a function": ("def main():\n    assert not 1\nmain()", 1),
    "argparse": ("import argparse; argparse.ArgumentParser().parse_args(['-x'])", 2),
    "unittest": ("import unittest; unittest.main()", None),
    "swallowed interrupt": (
        """
import signal
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    pass
""",
        0,
    ),
    "own SIGTERM handler, before": (
        """
signal.signal(signal.SIGTERM, lambda *_: None)
ipycron.get_task('tick').stop().result()
ipycron.get_task('tick').start().result()
signal.raise_signal(signal.SIGTERM)
""",
        0,
    ),
    "own SIGTERM handler, after": (
        """
signal.signal(signal.SIGTERM, lambda *_: None)
signal.raise_signal(signal.SIGTERM)
""",
        0,
    ),
    "interrupted asyncio.run": (
        """
import asyncio
async def main():
    asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
    await asyncio.sleep(20)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
""",
        0,
    ),
    "loop with a SIGTERM handler": (
        """
import asyncio
async def main():
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, done.set)
    loop.call_soon(signal.raise_signal, signal.SIGTERM)
    await done.wait()
asyncio.run(main())
""",
        0,
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_program_that_ends_itself_is_not_held(start, end):
    """The main module did not run to its end, or a signal asked it to exit."""
    source, code = ENDS[end]
    program = start(*PYTHON, app=f"import ipycron, signal\n{SCHEDULE}{source}\n")
    assert program.wait() in ((0, 5) if code is None else (code,)), program.stderr


@pytest.mark.parametrize("end", ["sys.exit", "exception"])
def test_program_whose_thread_schedules_is_not_held_either(start, end):
    """What counts is the main thread's end, whichever thread scheduled."""
    source, code = ENDS[end]
    call = f"import threading\ndef call():\n    {SCHEDULE}\n"
    call += "thread = threading.Thread(target=call)\nthread.start()\nthread.join()\n"
    program = start(*PYTHON, app=f"import ipycron\n{call}{source}\n")
    assert program.wait() == code, program.stderr


HELD = {
    "last line": "",
    "asyncio.run": "import asyncio; asyncio.run(asyncio.sleep(0))",
    "caught exit": "try:\n    exit()\nexcept SystemExit:\n    pass",
    "caught error": "try:\n    1 / 0\nexcept ZeroDivisionError:\n    pass",
    "function": "def main():\n    return 1\nmain()",
    "another signal": "signal.signal(signal.SIGUSR1, print)\n"
    "signal.raise_signal(signal.SIGUSR1)",
    "own SIGTERM handler": "signal.signal(signal.SIGTERM, lambda *_: exit())",
}


@pytest.mark.parametrize("end", HELD)
def test_script_that_falls_off_its_end_is_held_until_a_signal(start, end):
    """Whatever it did before, and whatever else handles signals."""
    program = start(*PYTHON, app=f"import ipycron, signal\n{SCHEDULE}{HELD[end]}\n")
    program.wait_ticks()
    assert program.end(signal.SIGTERM) < QUICK
    program.wait()


@pytest.mark.parametrize("runner", ["-m cProfile -o out", "-m trace -c -R", "-m"])
def test_script_is_held_as_well_where_another_program_runs_it(start, runner):
    """The script is the main module, not the program that runs it."""
    # -R: trace would write its report while other threads still add to its counts.
    name = "app" if runner == "-m" else "app.py"
    app = f"import ipycron\n{SCHEDULE}"
    program = start(sys.executable, *runner.split(), name, app=app)
    program.wait_ticks()
    assert program.end(signal.SIGINT) < QUICK
    program.wait()


@pytest.mark.parametrize("loop", ["closed", "left open"])
def test_coroutine_whose_loop_has_ended_holds_nothing(start, loop):
    """It can never run again, whether or not the loop is closed."""
    program = start(
        *PYTHON,
        app=f"""
        import asyncio, ipycron, warnings
        warnings.simplefilter("ignore")
        async def job():
            pass
        async def main():
            await ipycron.schedule("* * * * * *", job).execute()
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        if {loop!r} == "closed":
            loop.close()
        """,
    )
    assert program.wait() == 0, program.stderr
