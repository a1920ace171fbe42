"""Functions of a script as jobs: what they use arrives, or is named in the error."""

import subprocess
import sys

SCRIPT = """
import functools
import ipycron


@functools.lru_cache
def cached(n):
    return n * 2


@functools.singledispatch
def dispatch(value):
    return "other"


@dispatch.register
def _(value: int):
    return cached(value)


class Tool:
    @functools.cached_property
    def answer(self):
        return dispatch(21)


class Odd:
    def __reduce__(self):
        return eval, ("1 / 0",)


class Named:
    def __reduce__(self):
        return "named"


odd, named = Odd(), Named()


def run(job):
    task = ipycron.create_task("@yearly", job, background=True)
    task.start().result(20)
    return task.execute().result(20)


def fail(job):
    try:
        run(job)
    except ipycron.errors.CaptureError as error:
        print(error)


print(run(lambda: Tool().answer), run(functools.partial(dispatch, 4)))
print(run(functools.partial(cached, 5)))
fail(lambda: odd)
fail(lambda: named)
ipycron.shutdown()
"""

LINES = [
    "42 8",
    "10",
    (
        "'<lambda>' (function) cannot be sent to a worker: it cannot be rebuilt there "
        "(ZeroDivisionError: division by zero). Import or make what it needs inside "
        "the function."
    ),
    (
        "'named' (Named) cannot be sent to a worker: only its name, 'named', can be "
        "sent, which a worker does not know. Open such things inside the function, or "
        "pass what they are made from (a path, an address) instead."
    ),
]


def test_functions_of_a_script_bring_what_they_use_or_say_what_they_cannot(tmp_path):
    """Caches and dispatchers work; a start that fails is a `CaptureError`."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == LINES, done.stderr
