"""Files of tasks for `ipycron run -f`: a line EXPRESSION FILE [ARGS…] for each."""

from __future__ import annotations

import re
import shlex
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ipycron.cli.mistakes import BadLines
from ipycron.errors import IpycronError
from ipycron.triggers.durations import guess_duration
from ipycron.triggers.text import KEYWORDS
from ipycron.triggers.union import read_trigger, split_trigger

_ASSIGNMENT = re.compile(r"\w+\s*=")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLine:
    """One task of a file.

    Attributes:
        number: the number of its line, from 1.
        file: the file to run, absolute or relative to the folder of the file of tasks.
        name: its file as written, with the line number if several are equal.
    """

    number: int
    expression: str
    file: str
    args: tuple[str, ...]
    name: str


def read_tasks(path: str) -> tuple[list[TaskLine], dict[int, str]]:
    """Return the tasks of a file, in order, and what is wrong with the other lines.

    Empty lines, and lines that begin with a ``#``, are skipped. Words are quoted as in
    a shell; the expression needs no quotes.

    Args:
        path: the file; ``-`` reads stdin.

    Returns:
        The tasks, and the mistakes by line number.

    Raises:
        BadLines: if the file cannot be read or contains neither.
    """
    lines, mistakes = [], {}
    for number, line in enumerate(_read_text(path).split("\n"), 1):
        words = line.strip()
        if not words or words.startswith("#"):
            continue
        try:
            lines.append((number, *_read_line(words)))
        except (ValueError, IpycronError) as error:
            mistakes[number] = str(error)
    if not lines and not mistakes:
        raise BadLines(f"-f {path}: no task in it: a line is EXPRESSION FILE [ARGS…]")
    counts = Counter(file for _, _, file, _ in lines)
    tasks = [
        TaskLine(
            number=number,
            expression=expression,
            file=file,
            args=args,
            name=file if counts[file] == 1 else f"{file}:{number}",
        )
        for number, expression, file, args in lines
    ]
    return tasks, mistakes


def _read_text(path: str) -> str:
    try:
        if path == "-":
            return sys.stdin.read()
        return Path(path).expanduser().read_text("utf-8-sig")
    except OSError as error:
        raise BadLines(f"-f {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadLines(f"-f {path}: not a text file in UTF-8") from None


def _read_line(line: str) -> tuple[str, str, tuple[str, ...]]:
    """Return the expression, the file and its arguments.

    Raises:
        ValueError: if the line is anything else; a `CronSyntaxError` has a caret.
    """
    if _ASSIGNMENT.match(line):
        raise ValueError(
            f"{line!r} sets a variable, which these files do not: set it for ipycron "
            "run, whose environment the jobs have; --timezone is for the zone"
        )
    return split_task(shlex.split(line))


def split_task(words: list[str]) -> tuple[str, str, tuple[str, ...]]:
    """Return the expression, the file and its arguments that words consist of.

    Raises:
        ValueError: if they are anything else; a `CronSyntaxError` has a caret.
    """
    split = split_trigger(words)
    if split is None:
        is_keyword = words[0].lower() in KEYWORDS
        is_alone = words[0].startswith("@") or " " in words[0]
        count = 1 if is_alone else 5
        if is_keyword:
            count = 3 if guess_duration(" ".join(words[1:3])) else 2
        refused = " ".join(words[:count])
        read_trigger(refused, hash_id="")  # raises if it is invalid
        raise ValueError("expected EXPRESSION FILE [ARGS…]")
    expression, rest = split
    if not rest:
        raise ValueError("no file after the expression: EXPRESSION FILE [ARGS…]")
    if rest[0].startswith("-"):
        raise ValueError(
            f"got the option {rest[0]!r} for the file: options are given to ipycron "
            "run, before -f, for all tasks"
        )
    return expression, rest[0], rest[1:]
