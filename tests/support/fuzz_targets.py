"""What hostile input must lead to: a value or one clear error, soon, without leaks.

The targets of Hypothesis and of atheris; see `tests/property/test_fuzz.py`.
"""

from __future__ import annotations

import contextlib
import os
import time

from ipycron.cron import CronExpression, parse, validate, validate_detailed
from ipycron.errors import CronSyntaxError, IpycronError
from ipycron.process.wire.frames import FrameReader
from ipycron.process.wire.outcome import (
    Unserializable,
    decode_error,
    decode_result,
    read_traceback,
)
from ipycron.process.wire.payload import Payload
from ipycron.process.wire.protocol import (
    FromClient,
    FromSupervisor,
    FromWorker,
    FromZygote,
    ToWorker,
    ToZygote,
)

KINDS = (FromClient, FromSupervisor, FromWorker, FromZygote, ToWorker, ToZygote)
SECONDS = 1.0
"""For one input; the machine may be busy."""
HELD_BYTES = 1 << 20


def read_frames(data: bytes) -> None:
    """Feed bytes to a frame reader, in pieces, some with descriptors."""
    if not data:
        return
    kind, size = KINDS[data[0] % len(KINDS)], 1 + data[0] // len(KINDS)
    reader = FrameReader(kind, max_header=HELD_BYTES, takes_fds=data[0] % 2 == 0)
    made = []
    for at in range(1, len(data), size):
        piece = data[at : at + size]
        fds = [os.dup(0) for _ in range(piece[0] % 3)]
        made += fds
        for frame in reader.feed(piece, fds):
            frame.payload.close()
            for fd in frame.fds:
                os.close(fd)
    reader.close()
    for fd in made:
        with contextlib.suppress(OSError):
            os.fstat(fd)
            raise AssertionError(f"descriptor {fd} was not given back")


def decode_outcomes(data: bytes) -> None:
    """Decode bytes as a result, and as an error."""
    # Valid pickles are the job's own objects; only invalid ones matter here.
    junk = b"\xff" + data
    assert isinstance(decode_result(Payload(junk)), Unserializable)
    assert isinstance(decode_error(Payload(junk)), IpycronError)
    assert isinstance(read_traceback(Payload(junk)), str)


def read_expression(text: str) -> None:
    """Parse a text as a cron expression."""
    began = time.monotonic()
    verdict = validate(text)
    report = validate_detailed(text)
    refusal = None
    try:
        expression = CronExpression(text, "UTC", hash_id="fuzz")
        parse(text, hash_id="fuzz")
        expression.find_next(1_700_000_000)
        assert expression.describe()
    except CronSyntaxError as error:
        refusal = error
    if refusal is not None:
        assert 0 < len(str(refusal)) < 5 * len(text) + 2000
        assert not verdict
        assert not report.valid
    assert time.monotonic() - began < SECONDS


def read_line(text: str) -> None:
    """Parse a text as the line of a magic."""
    from IPython.core.error import UsageError  # noqa: PLC0415 - a second of imports

    from ipycron.notebook.magic.dispatch import expand  # noqa: PLC0415
    from ipycron.notebook.magic.grammar import (  # noqa: PLC0415
        parse_words,
        split_trigger,
        split_words,
    )
    from ipycron.notebook.magic.options import get_task_options  # noqa: PLC0415
    from ipycron.notebook.magic.usage import usage_errors  # noqa: PLC0415

    began = time.monotonic()
    refusal = None
    # Braces contain the user's Python code, which is not executed here.
    plain = text.replace("{", "{{").replace("}", "}}").replace("$", "$$")
    try:
        with usage_errors():
            words = split_words(expand(plain, {}))
            parse_words(words, get_task_options(), names={})
            split_trigger(words)
    except UsageError as error:
        refusal = error
    if refusal is not None:
        assert str(refusal)
        assert type(refusal) is UsageError
    assert time.monotonic() - began < SECONDS


BYTES = {"frames": read_frames, "outcomes": decode_outcomes}
TEXTS = {"expression": read_expression, "line": read_line}
