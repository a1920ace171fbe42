"""Terminal colours on pages, as tracebacks and command-line programs print them."""

from __future__ import annotations

import re
from html import escape

from ipycron.process.wire.printable import show_controls

_SEQUENCE = re.compile(
    r"\x1b\[([0-9;:]*)m"  # colours
    r"|\x1b\[[0-?]*[ -/]*[@-~]"  # cursor, screen
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles, links
    r"|\x1b[@-Z\\-_]"
)
_NAMES = (
    ("#3e424d", "#e75c58", "#00a250", "#b27d12", "#208ffb", "#d160c4", "#60c6c8"),
    ("#282c36", "#b22b31", "#007427", "#b27d12", "#0065ca", "#a03196", "#258f8f"),
)
"""Normal and bright colours that are readable on white and on black; the last of the
eight, white, is left to the page."""

_CUBE_FIRST, _GREY_FIRST = 16, 232


def strip_ansi(text: str) -> str:
    """Return the text without colours, with other control characters escaped."""
    return show_controls(_SEQUENCE.sub("", text))


def to_html(text: str) -> str:
    r"""Return the text with its colours as spans; everything else is escaped.

    Examples:
        >>> to_html("a<b \x1b[1mbold\x1b[0m")
        'a&lt;b <span style="font-weight:bold">bold</span>'
    """
    parts: list[str] = []
    style = _Style()
    at = 0
    for match in _SEQUENCE.finditer(text):
        parts.append(style.wrap(text[at : match.start()]))
        at = match.end()
        if match[1] is not None:
            style.apply(match[1])
    parts.append(style.wrap(text[at:]))
    return "".join(parts)


class _Style:
    """The colours in force."""

    def __init__(self) -> None:
        self._colour: str | None = None
        self._is_bold = False

    def wrap(self, text: str) -> str:
        """Return a text wrapped in these colours."""
        if not text:
            return ""
        styles = []
        if self._colour is not None:
            styles.append(f"color:{self._colour}")
        if self._is_bold:
            styles.append("font-weight:bold")
        html = escape(show_controls(text))
        return f'<span style="{";".join(styles)}">{html}</span>' if styles else html

    def apply(self, codes: str) -> None:
        """Apply one escape sequence."""
        pending = [int(code or 0) for code in re.split("[;:]", codes)]
        while pending:
            code = pending.pop(0)
            if code == 0:
                self._colour, self._is_bold = None, False
            elif code in (1, 22):
                self._is_bold = code == 1
            elif code in range(30, 38) or code in range(90, 98):
                is_bright = code >= 90  # noqa: PLR2004 - ECMA-48 and its common extension
                self._colour = _find_named(code % 10, is_bright=is_bright)
            elif code in (38, 48):
                colour = _take_extended(pending)
                if code == 38:  # noqa: PLR2004 - as above
                    self._colour = colour
            elif code == 39:  # noqa: PLR2004 - as above
                self._colour = None


def _find_named(index: int, *, is_bright: bool) -> str | None:
    names = _NAMES[is_bright]
    return names[index] if index < len(names) else None


def _take_extended(pending: list[int]) -> str | None:
    """Return the colour of ``38;5;n`` or ``38;2;r;g;b``; takes its numbers."""
    kind = pending.pop(0) if pending else None
    if kind == 5 and pending:  # noqa: PLR2004 - a colour of the palette
        return _find_indexed(pending.pop(0))
    if kind == 2 and len(pending) >= 3:  # noqa: PLR2004 - red, green, blue
        return _write(*(pending.pop(0) for _ in range(3)))
    return None


def _find_indexed(index: int) -> str | None:
    """Return a colour from xterm's palette of 256."""
    if index < _CUBE_FIRST:
        return _find_named(index % 8, is_bright=index >= 8)  # noqa: PLR2004 - two eights
    if index >= _GREY_FIRST:
        grey = 8 + 10 * (index - _GREY_FIRST)
        return _write(grey, grey, grey)
    steps = divmod(index - _CUBE_FIRST, 36)
    red, (green, blue) = steps[0], divmod(steps[1], 6)
    return _write(*(0 if step == 0 else 55 + 40 * step for step in (red, green, blue)))


def _write(red: int, green: int, blue: int) -> str:
    return "#" + "".join(f"{min(255, value):02x}" for value in (red, green, blue))
