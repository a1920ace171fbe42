"""Text of others, made fit to be printed: nothing in it moves a cursor."""

from __future__ import annotations

import re

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""And what stands for bytes that are no text, in the names of files: no message of
Jupyter's can carry it."""
_HIDDEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Controls, and the marks that turn the direction of what follows them."""


_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")


def strip_colours(text: str) -> str:
    """Return a text without a terminal's colours; other controls stay."""
    return _COLOURS.sub("", text)


_SEQUENCES = re.compile(
    r"(?P<colour>\x1b\[[0-9;:]*m)"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # cursor, screen, modes
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])"  # titles, links, clipboard, devices
    r"[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|\Z)"
    r"|\x1b[ -/]*[0-~]"  # resets, character sets, keypad
    r"|(?P<rest>[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff])"
)
# From the beginning of a line only: tried anywhere, a line of a megabyte takes hours.
_RETURNS = re.compile(r"^[^\n]*\r(?=[^\n])|\r", re.MULTILINE)


def keep_colours(text: str) -> str:
    r"""Return a text for a terminal that can do no more there than be read.

    Colours stay. What moves the cursor, clears the screen, sets titles or links or
    writes to the clipboard goes; other control characters are written out. Of a line
    that goes back to its beginning the end is kept, as a terminal would show it.

    Examples:
        >>> keep_colours("\x1b[31mred\x1b[0m \x1b[2J\x1b]0;title\x07end")
        '\x1b[31mred\x1b[0m end'
        >>> keep_colours("10 %\r100 %\r\nbell\x07")
        '100 %\nbell\\x07'
    """
    if text.isprintable():
        return text
    text = _RETURNS.sub("", text.replace("\r\n", "\n"))
    return _SEQUENCES.sub(_keep_colour, text)


def _keep_colour(match: re.Match[str]) -> str:
    return match["colour"] or (_write_out(match) if match["rest"] else "")


def show_controls(text: str) -> str:
    r"""Return a text with its control characters written out; lines stay lines.

    Examples:
        >>> show_controls("a\tb\x07 caf\udce9\n")
        'a\tb\\x07 caf\\udce9\n'
    """
    return _CONTROLS.sub(_write_out, text)


def show_hidden(text: str) -> str:
    r"""Return a name or the like with what cannot be seen written out.

    Examples:
        >>> show_hidden("\x1b[2J \u202eback")
        '\\x1b[2J \\u202eback'
    """
    return _HIDDEN.sub(_write_out, text)


def _write_out(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]
