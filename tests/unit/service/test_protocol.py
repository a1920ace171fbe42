"""What travels between the service and its clients."""

from __future__ import annotations

import msgspec
import pytest

from ipycron.errors import ServiceError
from ipycron.process.service.protocol import (
    PROTOCOL,
    Declaration,
    Declare,
    FromKeeper,
    FromService,
    Greeting,
    Known,
    PastState,
    TaskState,
    check_greeting,
    make_greeting,
)
from ipycron.process.wire.protocol import (
    FileJob,
    Register,
    Setting,
    encode_message,
    make_decoder,
)
from ipycron.process.wire.triggers import PlainCron
from ipycron.scheduling.events import Pause, ScheduledExecution, Status
from ipycron.scheduling.policy import CatchUp, Policy


def make_declaration(**changes):
    """Return a declaration of a file."""
    register = Register(
        task_id="1",
        name="report",
        pattern="* * * * *",
        zone="Europe/Berlin",
        trigger=PlainCron("* * * * *", "Europe/Berlin", True, None),
        policy=Policy(catch_up=CatchUp("all", window=60), max_executions=3),
        job=FileJob(b"/job.py", (b"--x",)),
        setting=Setting(b"/", {b"A": b"1", b"\xff": b"\xfe"}, (b"/lib",), 20, 1000),
        launcher="fork",
        pause=Pause(since=1.0, until=5, note="x"),
    )
    return Declaration(register=register, **changes)


def test_declaration_travels_whole():
    """Policy, bytes that are no text, and further options included."""
    sent = Declare(7, make_declaration(origin="/a.ipynb", extra={"notify": ["x"]}))
    received = make_decoder(FromKeeper).decode(encode_message(sent))
    assert received == sent


def test_state_travels_whole():
    """With runs in progress and past ones."""
    run = ScheduledExecution(id="a", reason="scheduled", date=1.0, started_at=1.5)
    state = TaskState(
        status=Status.RUNNING,
        runs_left=2,
        running=(run,),
        runs=(PastState(execution=run, is_ok=True, summary="42"),),
    )
    sent = Known(make_declaration(), state, is_initial=True)
    assert make_decoder(FromService).decode(encode_message(sent)) == sent


def test_greeting_of_a_later_version_can_be_read():
    """It may say more; the first fields stay."""
    greeting = make_greeting("1.0")
    fields = msgspec.msgpack.decode(encode_message(greeting))
    later = msgspec.msgpack.encode([*fields, {"more": 1}])
    assert make_decoder(FromService).decode(later) == greeting


def greet(protocol=PROTOCOL, version="1.2.0", python="3.11.7"):
    """Return the greeting of some version."""
    return Greeting(protocol, version, python, 1, 0.0)


def test_same_versions_understand_each_other():
    """A patch of Python makes no difference."""
    check_greeting(greet(), greet(python="3.11.9"))


@pytest.mark.parametrize(
    ("client", "service"),
    [
        ({"version": "1.3.0"}, {}),
        ({"version": "1.10.0"}, {"version": "1.9.0"}),
        ({"python": "3.12.0"}, {}),
        ({"protocol": PROTOCOL + 1}, {}),
    ],
)
def test_older_side_is_named_with_what_to_do(client, service):
    """Whichever it is, and whatever differs (K7)."""
    new, old = greet(**client), greet(**service)
    with pytest.raises(ServiceError, match=r"service is older: .*service restart"):
        check_greeting(new, old)
    with pytest.raises(ServiceError, match=r"process is older: .*Restart the kernel"):
        check_greeting(old, new)
