"""Any bytes and any text give a value or one clear error: no hang, no growth."""

import importlib.util
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import fuzz_targets
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lengths import choose
from scores import count_score

from ipycron.process.wire.protocol import (
    Displayed,
    Ended,
    Fork,
    Forked,
    Quit,
    Streamed,
    encode_message,
)

MESSAGES = (
    Ended("id", is_ok=True, summary="1"),
    Displayed("task", "id"),
    Forked(1, 2),
    Fork(3, "Europe/Berlin"),
    Quit(),
    Streamed("task", "id", "stdout", 0),
)
SECONDS = choose(short=1, full=5)
"""For atheris, per target."""
PROGRAM = Path(__file__).parents[1] / "support" / "fuzz_atheris.py"

examples = settings(
    max_examples=int(os.environ.get("IPYCRON_FUZZ_EXAMPLES", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@st.composite
def frames(draw):
    """Bytes that are almost frames."""
    parts = [bytes([draw(st.integers(0, 255))])]
    for _ in range(draw(st.integers(1, 5))):
        header = encode_message(draw(st.sampled_from(MESSAGES)))
        if draw(st.booleans()):
            at = draw(st.integers(0, len(header)))
            header = header[:at] + draw(st.binary(max_size=8)) + header[at + 1 :]
        payload = draw(st.binary(max_size=20))
        sizes = [len(header), len(payload)]
        if draw(st.integers(0, 3)) == 0:
            sizes = [draw(st.integers(0, 2**32 - 1)) for _ in sizes]
        fds, by_fd = draw(st.tuples(st.integers(0, 9), st.integers(0, 3)))
        if draw(st.booleans()):
            fds = by_fd = 0
        parts += [struct.pack("<IIBB", *sizes, fds, by_fd), header, payload]
    return b"".join(parts)


@examples
@given(st.one_of(frames(), st.binary(max_size=300)))
def test_frames_are_read_or_refused_whatever_the_bytes(data):
    """A reader yields frames up to the first violation and leaks no descriptor."""
    fuzz_targets.read_frames(data)


@examples
@given(st.binary(max_size=200))
def test_outcomes_are_decoded_to_something_whatever_the_bytes(data):
    """A caller that waits for a result or an error gets one."""
    fuzz_targets.decode_outcomes(data)


# Tokens of the grammar, so that inputs pass more than the first check.
tokens = st.sampled_from(
    (  # noqa: SIM905 - forty words read better without their quotes
        "0 1 7 31 59 60 99999999999999999999 * */ / - , # L W LW L-3 ? H H( ) H(0-5)/2 "
        "mon jan sunday @daily @every sat-sun 22-2 \x00 \u202e \uff10 \u2460"
    ).split(" ")
)
nearly_expressions = st.lists(
    st.lists(tokens, min_size=1, max_size=4).map("".join), max_size=8
).map(" ".join)


@examples
@given(st.one_of(nearly_expressions, st.text(max_size=200)))
@example("*" * 10_000)
@example("1," * 5_000 + "1 * * * *")
@example("* " * 10_000)
@example("* h h h h")
@example("\ud800 * * * *")
@example("0 0 30 2 *")
def test_expressions_are_read_or_refused_whatever_the_text(text):
    """All three ways to check an expression agree, in time."""
    fuzz_targets.read_expression(text)


words = st.sampled_from(
    (  # noqa: SIM905 - as above
        "*/5 * */5\\ * @daily -- --name --name= --tz Europe/Berlin --max -1 1e999 "
        "--timeout 10m --no-overlap --into x --capture a,b ' \" \\ # $ { } job.py "
        "--help --x=\x00 \u202e <script> ../../etc"
    ).split(" ")
)


@examples
@given(st.one_of(st.lists(words, max_size=12).map(" ".join), st.text(max_size=200)))
@example("'" * 999)
@example("--name " + "x" * 10_000)
def test_lines_are_read_or_refused_whatever_the_text(text):
    """A magic's line is parsed, or refused with one `UsageError`."""
    fuzz_targets.read_line(text)


@pytest.mark.timeout(180)  # the program instruments all that it imports first
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is not installed"
)
def test_nothing_breaks_when_atheris_looks_for_it(request, tmp_path):
    """Coverage-guided fuzzing for some seconds; a finding exits with an error."""
    names = [*fuzz_targets.BYTES, *fuzz_targets.TEXTS]
    subprocess.run(
        [sys.executable, PROGRAM, str(SECONDS), *names],
        timeout=150,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    codes = json.loads((tmp_path / "codes.json").read_text())
    assert list(codes) == names
    logs = {name: (tmp_path / f"{name}.log").read_text() for name in names}
    for name, log in logs.items():
        tried = re.findall(r"Done (\d+) runs", log)
        count_score(
            request,
            "hostile input",
            f"atheris: {name}",
            tried=int(tried[0]) if tried else 1,
            lost=int(codes[name] != 0),
            note=f"in {SECONDS} s",
        )
    broken = [log[-6000:] for name, log in logs.items() if codes[name] != 0]
    assert not broken, "\n".join(broken)
