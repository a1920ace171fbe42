"""Output of inline jobs belongs to their runs, and no other output does."""
# ruff: noqa: T201 - printing is what is tested

import asyncio
import contextlib
import contextvars
import io
import logging
import sys
import threading

import pytest
from house import ASYNC, INLINE, NEVER, submit_to_client
from polling import SECONDS, eventually

import ipycron
from ipycron.client.recording import recorder

pytestmark = pytest.mark.parametrize("house", [INLINE, ASYNC], indirect=True)


def execute(task):
    """Return the output of a run."""
    with contextlib.suppress(LookupError):
        task.execute().result(SECONDS)
    return task.last_run.output


def test_inline_run_has_its_output(house, capsys):
    """Both streams and logging, in order; the console shows it, too."""

    def speak(ctx):
        print("one")
        print("two", file=sys.stderr)
        sys.stdout.writelines(["three\n", "four\n"])
        logging.StreamHandler().handle(logging.makeLogRecord({"msg": "five"}))
        raise LookupError

    task = house.start(speak)
    output = execute(task)
    assert [(piece.kind, piece.data) for piece in output.read()[0]] == [
        ("stdout", b"one\n"),
        ("stderr", b"two\n"),
        ("stdout", b"three\nfour\n"),
        ("stderr", b"five\n"),
    ]
    assert capsys.readouterr() == (output.stdout, output.stderr)
    assert task.history[-1].output is output


def test_runs_beside_each_other_keep_their_output_apart(house):
    """Each has its own output, in order, however the runs interleave."""
    over = house.gate()

    def speak(ctx):
        print(f"begin {ctx.execution.id}")
        yield from over.pass_through()
        print(f"end {ctx.execution.id}")

    task = house.start(speak)
    executions = [task.execute() for _ in range(3)]
    eventually(
        lambda: [run.output.stdout.count("begin") for run in task.running] == [1, 1, 1],
        "three runs that print",
    )
    over.open()
    for execution in executions:
        execution.result(SECONDS)
    for run in task.history:
        assert run.output.stdout == f"begin {run.id}\nend {run.id}\n"


def test_other_threads_print_as_before(house, capsys):
    """Their output never belongs to a run, and `sys.stdout` is unchanged."""
    over, stream, seen = threading.Event(), sys.stdout, []

    def make_noise():
        while not over.wait(0.0005):
            print("noise")
            print("noise", file=sys.stderr)
            seen.append(sys.stdout)

    def speak(ctx):
        for number in range(20):
            print(number)
            yield
        while not seen:
            yield

    task = house.start(speak)
    thread = threading.Thread(target=make_noise)
    thread.start()
    output = execute(task)
    over.set()
    thread.join()
    assert output.stdout.split() == [str(number) for number in range(20)]
    assert output.stderr == ""
    assert set(seen) == {stream}
    assert "noise" in capsys.readouterr().out
    assert "write" not in vars(stream)


def test_threads_with_the_context_of_a_run_belong_to_it(house, capsys):
    """Threads with a copy of the job's context belong to the run, others not."""

    def speak(ctx):
        context = contextvars.copy_context()
        for target in (lambda: context.run(print, "ours"), lambda: print("theirs")):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()

    assert execute(house.start(speak)).stdout == "ours\n"
    assert capsys.readouterr().out == "ours\ntheirs\n"


def test_what_a_job_asks_for_is_not_part_of_its_run(house):
    """The client's loop does not run in the context of the calling job."""
    seen = []

    def ask(ctx):
        assert recorder.get() is not None
        submit_to_client(lambda: seen.append(recorder.get()))

    execute(house.start(ask))
    eventually(lambda: seen, "the answer of the loop")
    assert seen == [None]


def test_output_is_only_kept_where_echo_is_off(house, capsys):
    """As for a background job."""

    def speak(ctx):
        print("quiet")

    assert execute(house.start(speak, echo=False)).stdout == "quiet\n"
    assert capsys.readouterr().out == ""


def test_streams_may_be_replaced_at_any_time(house, monkeypatch, capsys):
    """A stream that writes to another records once; redirections work."""

    class Tee(io.TextIOBase):
        def __init__(self, below):
            self.below, self.text = below, ""

        def write(self, text):
            self.text += text
            return self.below.write(text)

    def speak(ctx):
        print("word")
        with contextlib.redirect_stdout(io.StringIO()) as own:
            print("aside")
        assert own.getvalue() == "aside\n"

    task = house.start(speak)
    assert execute(task).stdout == "word\n"
    monkeypatch.setattr(sys, "stdout", Tee(sys.stdout))
    assert execute(task).stdout == "word\n"
    assert sys.stdout.text == "word\n"
    monkeypatch.setattr(sys, "stdout", None)  # as below pythonw
    assert execute(task).stdout == ""
    monkeypatch.undo()
    assert capsys.readouterr().out == "word\n" * 2


def test_output_of_an_inline_run_is_bounded(house, monkeypatch):
    """As a worker's: head, tail, and a count of what is missing."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())

    def flood(ctx):
        for number in range(20_000):
            print(f"{number:099}")

    output = execute(house.start(flood))
    assert output.size < 500_000
    assert output.position == 2_000_000
    assert output.stdout.startswith(f"{0:099}\n")
    assert output.stdout.endswith(f"{19_999:099}\n")
    assert "left out" in output.stdout


def test_text_that_no_stream_takes_is_kept(house, monkeypatch):
    """Half a character, and text printed to a closed stream."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)

    def speak(ctx):
        print("half \udcff")
        stream.close()
        with contextlib.suppress(ValueError):
            print("late")

    assert execute(house.start(speak)).stdout.startswith("half \\udcff\nlate")


def test_coroutine_that_moves_to_a_thread_takes_its_run_along(house):
    """`asyncio.to_thread` and the job's own tasks."""

    async def speak():
        await asyncio.to_thread(print, "thread")
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(print, "task"))

    if house.kind == ASYNC:
        task = house.call_on_loop(lambda: ipycron.create_task(NEVER, speak))
    else:  # a function that returns an awaitable
        task = ipycron.create_task(NEVER, lambda: speak())  # noqa: PLW0108 - not a coroutine function
    task.start().result(SECONDS)
    assert execute(task).stdout == "thread\ntask\n"
