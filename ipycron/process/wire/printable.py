"""Makes foreign text safe to print: nothing in it moves the cursor."""

from __future__ import annotations

import re

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""And the surrogates of undecodable bytes in file names, which no Jupyter message can
carry."""
_HIDDEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Controls, and the marks that change the direction of the text after them."""


_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")


def strip_colours(text: str) -> str:
    """Return a text without terminal colours; other controls stay."""
    return _COLOURS.sub("", text)


_SEQUENCES = re.compile(
    r"(?P<colour>\x1b\[[0-9;:]*m)"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # cursor, screen, modes
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])"  # titles, links, clipboard, devices
    r"[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|\Z)"
    r"|\x1b[ -/]*[0-~]"  # resets, character sets, keypad
    r"|(?P<rest>[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff])"
)
# Anchored to the start of a line: unanchored, a line of a megabyte takes hours.
_RETURNS = re.compile(r"^[^\n]*\r(?=[^\n])|\r", re.MULTILINE)


def keep_colours(text: str) -> str:
    r"""Return a text that has no effect in a terminal other than being shown.

    Colours stay. Sequences that move the cursor, clear the screen, set titles or links
    or write to the clipboard are removed; other control characters are escaped. After a
    carriage return only the last part of the line is kept, as a terminal would show it.

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
    r"""Return a text with its control characters escaped; line breaks stay.

    Examples:
        >>> show_controls("a\tb\x07 caf\udce9\n")
        'a\tb\\x07 caf\\udce9\n'
    """
    return _CONTROLS.sub(_write_out, text)


def show_hidden(text: str) -> str:
    r"""Return a name or the like with invisible characters escaped.

    Examples:
        >>> show_hidden("\x1b[2J \u202eback")
        '\\x1b[2J \\u202eback'
    """
    return _HIDDEN.sub(_write_out, text)


def _write_out(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]
