"""Lines around the header of a scheduled cell, before IPython looks at them."""

from __future__ import annotations

import re

_HEADER = re.compile(r"%%cron(?=\s|$)")
_HELP = re.compile(r"%%cron\s+(-h|--help)\s*")


def clean_header(lines: list[str]) -> list[str]:
    """Return the lines of a cell as IPython takes them for one of `%%cron`.

    IPython knows a cell magic by the very first line. Comments above `%%cron` go (the
    cell's source, with its line numbers, is taken from the text as typed), and a
    header that asks for help needs no body.
    """
    for index, line in enumerate(lines):
        if _HEADER.match(line):
            kept = lines[index:]
            if _HELP.fullmatch(line) and not "".join(kept[1:]).strip():
                return [line[1:]]
            return kept
        if line.strip() and not line.lstrip().startswith("#"):
            break
    return lines
