"""A run's output becomes items for the browser, in order and within limits."""

from __future__ import annotations

import pytest

from ipycron.client.output import Piece
from ipycron.notebook.display.ansi import strip_ansi
from ipycron.notebook.display.tracebacks import read_errors, tidy
from ipycron.notebook.display.transcript import (
    MAX_BUNDLE_BYTES,
    MAX_CHARACTERS,
    MAX_GROUPS,
    SEALED_BYTES,
    Transcript,
)
from ipycron.process.wire.displays import DisplayData

HTML = {"text/html": "<b>x</b>", "text/plain": "x"}


def out(text):
    """Return a piece of stdout."""
    data = text if isinstance(text, bytes) else text.encode()
    return Piece(kind="stdout", data=data)


def err(text):
    """Return a piece of stderr."""
    return Piece(kind="stderr", data=text.encode())


def show(data=None, **facts):
    """Return a display."""
    facts = {"kind": "display", "data": HTML if data is None else data, **facts}
    return Piece(kind="display", display=DisplayData(**facts))


def test_transcript_keeps_the_order_of_text_and_displays():
    """A table appears between the lines printed around it."""
    items = Transcript().feed([out("a\n"), show(), out("b\n"), err("c\n"), show()])

    assert items == [
        ("stdout", "a\n"),
        ("group", 0),
        ("stdout", "b\n"),
        ("stderr", "c\n"),
        ("group", 1),
    ]


def test_transcript_puts_displays_without_text_between_into_one_group():
    """Consecutive figures are one output of the notebook."""
    transcript = Transcript()
    items = transcript.feed([show(), show()])

    assert items == [("group", 0)]
    assert [group.outputs for group in transcript.take_changed()] == [
        [{"output_type": "display_data", "data": HTML, "metadata": {}}] * 2
    ]


def test_transcript_names_a_group_again_when_it_has_grown():
    """Only what has changed is sent again."""
    transcript = Transcript()
    transcript.feed([show()])
    transcript.take_changed()

    assert transcript.feed([show()]) == []
    assert [group.number for group in transcript.take_changed()] == [0]
    assert transcript.take_changed() == []


def test_transcript_seals_a_large_group():
    """A new figure does not resend a large group."""
    large = {"image/png": "x" * (SEALED_BYTES + 1)}
    transcript = Transcript()
    transcript.feed([show(large)])
    transcript.take_changed()

    assert transcript.feed([show()]) == [("group", 1)]
    assert [group.number for group in transcript.take_changed()] == [1]


def test_transcript_writes_a_plain_result_as_text():
    """A number needs no renderer of the notebook."""
    result = show({"text/plain": "42"}, kind="result")

    assert Transcript().feed([result]) == [("result", "42\n")]


def test_transcript_updates_a_display_in_its_place():
    """`update_display` changes the display; nothing is added."""
    transcript = Transcript()
    transcript.feed([show(display_id="bar"), out("text")])
    transcript.take_changed()
    new = {"text/html": "new"}

    assert transcript.feed([show(new, kind="update", display_id="bar")]) == []
    (group,) = transcript.take_changed()
    assert group.outputs[0]["data"] == new


def test_transcript_ignores_an_update_of_a_stranger():
    """Updating what was never displayed shows nothing, as in a notebook."""
    transcript = Transcript()

    assert transcript.feed([show(kind="update", display_id="who")]) == []
    assert transcript.take_changed() == []


def test_transcript_clears_at_once_when_told():
    """`clear_output()` removes the output."""
    transcript = Transcript()
    items = transcript.feed([out("old"), show({}, kind="clear"), out("new")])

    assert items == [("clear", None), ("stdout", "new")]
    assert transcript.items == [("stdout", "new")]


def test_transcript_clears_with_the_next_output_when_told_to_wait():
    """`clear_output(wait=True)` does not flicker."""
    transcript = Transcript()
    transcript.feed([out("old")])

    assert transcript.feed([show({}, kind="clear", is_waiting=True)]) == []
    assert transcript.items == [("stdout", "old")]
    assert transcript.feed([show()]) == [("clear", None), ("group", 0)]
    assert transcript.items == [("group", 0)]


def test_transcript_joins_a_character_that_was_cut_in_two():
    """The bytes of one character may arrive in two deliveries."""
    transcript = Transcript()
    euro = "€".encode()

    assert transcript.feed([out(euro[:1])]) == []
    assert transcript.feed([out(euro[1:])]) == [("stdout", "€")]


def test_transcript_says_what_is_missing():
    """A gap in the stream is an item of its own."""
    gap = Piece(kind="stdout", data=b"b", missing=70_000)

    assert Transcript().feed([out("a"), gap]) == [
        ("stdout", "a"),
        ("missing", 70_000),
        ("stdout", "b"),
    ]


def test_transcript_keeps_the_end_of_a_flood_and_counts_the_rest():
    """However much a job prints, what is shown is bounded."""
    transcript = Transcript()
    for _ in range(20):
        transcript.feed([out("x" * 60_000)])
    transcript.feed([out("the end")])

    kinds = [kind for kind, _ in transcript.items]
    shown = "".join(v for kind, v in transcript.items if kind == "stdout")
    missing = sum(v for kind, v in transcript.items if kind == "missing")
    assert kinds[0] == "missing"
    assert shown.endswith("xthe end")
    assert len(shown) <= MAX_CHARACTERS
    assert missing + len(shown) == 20 * 60_000 + len("the end")


def test_transcript_adds_no_more_at_once_than_it_is_told():
    """The same part is left out of what is shown and what is sent."""
    transcript = Transcript()
    fresh = transcript.feed([out("a" * 100 + "b" * 50)], 50)

    assert fresh == transcript.items == [("missing", 100), ("stdout", "b" * 50)]


def test_transcript_keeps_the_newest_groups_when_there_are_many():
    """A loop that shows a hundred figures does not create a hundred widgets."""
    transcript = Transcript()
    for number in range(MAX_GROUPS + 10):
        transcript.feed([show(), out(f"{number}\n")])

    assert len(transcript.groups) == MAX_GROUPS
    assert max(transcript.groups) == MAX_GROUPS + 9
    assert {g.number for g in transcript.take_changed()} == set(transcript.groups)


def test_transcript_shows_the_text_of_a_display_that_is_too_large():
    """Jupyter's server would drop it, and what follows it."""
    data = {"image/png": "x" * (MAX_BUNDLE_BYTES + 1), "text/plain": "<Figure>"}
    transcript = Transcript()
    transcript.feed([show(data, display_id="f")])
    (group,) = transcript.take_changed()

    (output,) = group.outputs
    assert set(output["data"]) == {"text/plain"}
    assert output["data"]["text/plain"].startswith("<Figure>\n[2,000,009 bytes")


def test_transcript_leaves_out_a_library_silently():
    """Plotly sends five megabytes of script before its figure."""
    script = f"<!-- it --> <script>{'x' * MAX_BUNDLE_BYTES}</script><style>b</style>\n"
    texts = []
    for html in (script, f"{script}<b>seen</b>"):
        transcript = Transcript()
        transcript.feed([show({"text/html": html}, display_id="f")])
        (group,) = transcript.take_changed()
        (output,) = group.outputs
        texts.append(output["data"]["text/plain"])

    assert texts[0] == ""
    assert "bytes are too many for a live view" in texts[1]


def test_transcript_is_built_from_a_dropped_display():
    """A display before the newest two hundred leaves a mark."""
    assert Transcript().feed([Piece(kind="display")]) == [("missing", 0)]


RULE = "-" * 75
CHAIN = f"""{RULE}
\x1b[31mKeyError\x1b[39m                      Traceback (most recent call last)
\x1b[36mCell\x1b[39m report, line 4
      3 try:
----> 4     look(1)

File \x1b[32m~/.venv/lib/python3.11/site-packages/pandas/frame.py:4330\x1b[39m, in f(x)
-> 4330     indexer

File pandas/_libs/index.pyx:172, in pandas._libs.index.get_loc()

File /usr/lib/python3.11/json/decoder.py:337, in decode(self)
--> 337 obj

KeyError: 'b'
a note

During handling of the above exception, another exception occurred:

ValueError                                Traceback (most recent call last)
File /home/me/project/tool.py:3, in go()
----> 3 raise ValueError("no\\n\\nway")

ValueError: no

way
"""
CELL = """Traceback (most recent call last):
  Cell In[1], line 4, in say
    raise ValueError("<b>")
  File "~nobody\\0/x.py", line 4, in say
ValueError: <b>
"""
PLAIN = """Traceback (most recent call last):
  File "/home/me/tool.py", line 3, in go
    read("KeyError: x")
  File "<frozen importlib._bootstrap>", line 10, in _load
json.decoder.JSONDecodeError: Expecting value
"""


def take_apart(text):
    """Return the errors of a traceback: relation, title, libraries of the frames."""
    lines = strip_ansi(text).split("\n")
    return [
        (
            error.relation,
            "\n".join(lines[error.first : error.end]),
            [frame.library for frame in error.frames],
        )
        for error in read_errors(text)
    ]


def test_traceback_is_taken_apart_the_last_error_first():
    """IPython's rendering: titles with notes, frames and libraries."""
    assert take_apart(CHAIN) == [
        ("", "ValueError: no\n\nway", [""]),
        ("While handling", "KeyError: 'b'\na note", ["", "pandas", "pandas", "json"]),
    ]
    error = read_errors(CHAIN)[1]
    first = CHAIN.split("\n")[error.frames[0].first : error.frames[0].end]
    assert strip_ansi(first[0]) == "Cell report, line 4"
    assert first[-1] == "----> 4     look(1)"


def test_traceback_of_python_is_taken_apart_too():
    """As functions and scripts have."""
    title = "json.decoder.JSONDecodeError: Expecting value"
    assert take_apart(PLAIN) == [("", title, ["", "importlib._bootstrap"])]
    assert take_apart(CELL) == [("", "ValueError: <b>", ["", ""])]


@pytest.mark.parametrize("text", [CHAIN, PLAIN, CELL, CHAIN.replace("File", "[... x")])
def test_traceback_that_is_taken_apart_loses_no_line(text):
    """Except the rule, the headings and the lines that relate the errors."""
    lines = text.split("\n")
    shown = []
    for error in read_errors(text):
        for part in (error, *error.frames):
            shown += lines[part.first : part.end]
    said = ("Traceback (most", "During handling", "The above", RULE)
    left = [line for line in lines if line.strip() and not any(s in line for s in said)]
    assert sorted(line for line in shown if line.strip()) == sorted(left)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "UsageError: no",
        "  + Exception Group Traceback (most recent call last):\n  | ExceptionGroup: x",
        RULE,
        "Traceback (most recent call last):",
        'Traceback (most recent call last):\n  File "a", line 1\n    x',
        CHAIN.replace("KeyError: 'b'", "During handling"),
        f"{PLAIN}\nDuring handling of the above exception, another exception occurred:",
    ],
)
def test_text_that_is_not_a_traceback_is_not_taken_apart(text):
    """Other text is shown as it is."""
    assert read_errors(text) == ()


def test_tidy_traceback_has_no_rule_and_pythons_heading():
    """As text, in Python's own order."""
    lines = tidy(CHAIN).split("\n")
    assert lines[0] == "Traceback (most recent call last):"
    assert lines.count(lines[0]) == 2
    assert RULE not in lines
    assert tidy(PLAIN) == PLAIN
