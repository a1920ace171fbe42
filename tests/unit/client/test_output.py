"""A run's output can be read in order, from any position."""

from __future__ import annotations

import re

from ipycron.client.output import MAX_DISPLAYS, MAX_ENTRIES, Output
from ipycron.process.wire.displays import DisplayData
from ipycron.process.wire.payload import pack_data
from ipycron.runlog.output import HEAD_BYTES, TAIL_BYTES


def _display(text: str) -> DisplayData:
    return DisplayData(kind="display", data={"text/plain": text})


def _flatten(pieces):
    return [
        piece.data.decode()
        if piece.kind != "display"
        else piece.display and piece.display.data["text/plain"]
        for piece in pieces
    ]


def test_output_is_read_in_order_across_streams_and_displays():
    """Text and displays are returned in the order of their arrival."""
    output = Output()
    output.write("stdout", b"a", 0)
    output.write("stderr", b"b", 0)
    output.display(pack_data(_display("figure")))
    output.write("stdout", b"c", 0)

    pieces, position = output.read()

    assert [piece.kind for piece in pieces] == ["stdout", "stderr", "display", "stdout"]
    assert _flatten(pieces) == ["a", "b", "figure", "c"]
    assert position == 4


def test_output_is_read_on_from_a_position_when_an_entry_has_grown():
    """Each byte is read once, wherever the last read stopped."""
    output = Output()
    output.write("stdout", b"one ", 0)
    _, position = output.read()
    output.write("stdout", b"two", 0)

    pieces, after = output.read(position)

    assert _flatten(pieces) == ["two"]
    assert output.read(after) == ([], after)


def test_output_says_how_much_is_missing_when_a_stream_was_flooded():
    """The gap between head and tail is a piece that counts the missing bytes."""
    output = Output()
    output.write("stdout", b"x" * (HEAD_BYTES + TAIL_BYTES + 100), 0)

    head, tail = output.read()[0]

    assert (len(head.data), head.missing) == (HEAD_BYTES, 0)
    assert (len(tail.data), tail.missing) == (TAIL_BYTES, 100)


def test_output_says_how_much_is_missing_when_the_supervisor_dropped():
    """Bytes that never arrived count as missing; positions stay correct."""
    output = Output()
    output.write("stdout", b"a", 0)
    output.write("stdout", b"b", 10)

    first, second = output.read()[0]

    assert (first.data, second.data, second.missing) == (b"a", b"b", 10)
    assert output.position == 12


def test_output_keeps_the_newest_displays_when_there_are_too_many():
    """A dropped display is an empty piece; the newest are kept."""
    output = Output()
    for number in range(MAX_DISPLAYS + 3):
        output.display(pack_data(_display(str(number))))

    texts = _flatten(output.read()[0])

    assert texts[:4] == [None, None, None, "3"]
    assert texts[-1] == str(MAX_DISPLAYS + 2)
    assert output.dropped_displays == 3


def test_output_keeps_every_byte_when_streams_alternate_for_long():
    """Only the order within the older half is lost."""
    output = Output()
    for number in range(MAX_ENTRIES):
        output.write("stdout", b"o", 0)
        output.write("stderr", b"e", 0)
        assert output.position == 2 * number + 2

    pieces, position = output.read()

    written = b"".join(piece.data for piece in pieces)
    assert written.count(b"o") == written.count(b"e") == MAX_ENTRIES
    assert position == len(written)
    assert written.endswith(b"oeoeoe")
    assert output.stdout == "o" * MAX_ENTRIES


def test_long_output_is_cut_between_lines():
    """Head and tail are whole lines; the marker's counts are correct."""
    text = "".join(f"line {number}\n" for number in range(100_000))
    output = Output()
    output.write("stdout", text.encode(), 0)

    head, marker, tail = re.split("(… .* left out …)\n", output.stdout)

    lines, size = re.fullmatch(
        "… ([0-9,]+) lines, ([0-9,]+) bytes left out …", marker
    ).groups()
    assert text.startswith(head)
    assert text.endswith(tail)
    assert head.endswith("\n")
    assert tail.startswith("line ")
    assert len(head) + len(tail) + int(size.replace(",", "")) == len(text)
    assert (head + tail).count("\n") + int(lines.replace(",", "")) == 100_000
    pieces = output.read()[0]
    assert [piece.data.decode() for piece in pieces] == [head, tail]


def test_long_output_is_cut_where_it_must_be_when_it_has_no_lines():
    """A single endless line keeps its beginning and its end."""
    output = Output()
    output.write("stdout", b"x" * HEAD_BYTES + b"y" * 2 * TAIL_BYTES, 0)

    head, marker, tail = output.stdout.split("\n")

    assert (head, tail) == ("x" * HEAD_BYTES, "y" * TAIL_BYTES)
    assert marker == f"… 0 lines, {TAIL_BYTES:,} bytes left out …"
