"""The manual: what ``%%cron?`` and ``%cron --help`` show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.client.options import Knobs, TaskOptions
from ipycron.notebook.magic.commands import COMMANDS
from ipycron.notebook.magic.options import CellOptions, make_options
from ipycron.scheduling.checks import OptionKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipycron.notebook.magic.grammar import MagicOption

_HEAD = """\
Run a cell or a file on a schedule, in the background.

    %%cron EXPRESSION [--option ...]     the cell below, in a process of its own
    %cron EXPRESSION FILE [arg ...]      a Python file
    %cron [COMMAND ...]                  what is scheduled, and its controls

EXPRESSION is a cron line and needs no quotes: minute, hour, day of month, month, day
of week, with seconds first where there are six; or @hourly, @daily and the like; or
every TIME [from INSTANT | after finish]; or at INSTANT [INSTANT ...]; or several of
these with | between them.

Examples:

    %%cron */5 * * * * --name poll       every five minutes; uses the variables and
    fetch(url)                           functions of the notebook as they are now

    %%cron */10 * * * * * --into latest  every ten seconds; the value of the last line
    read_sensor()                        goes to the variable latest, each time

    %%cron 0 9 * * mon-fri --tz Europe/Berlin --timeout 10m --no-overlap
    !make report

    %%cron every 90s after finish        a pause of 90 s between the runs
    sync()

    %cron at 2026-12-01 09:00 launch.py  once; then the task is gone
    %%cron @hourly --retry 3 --retry-delay 30 --overlap queue --pool gpu --priority 5
    train()                              again if it fails, one after another
    %cron pool gpu 2                     at most two runs with --pool gpu at once

    %cron @daily backup.py /srv          calls its task(), or runs the script
    %%cron 0 3 * * * --name nightly --keep
    load()                               goes on when this kernel ends

    %cron run poll                       once, now
    %cron pause poll --until 09:00 --note maintenance
    %cron stop poll
    %cron wait poll --runs 3             for unattended notebooks
    %cron explain 0 0 L * ?

The cell is IPython code: !commands, %magics, await, display(). The variable ctx says
which run it is: ctx.date, ctx.execution, ctx.task. Names in the line expand: {name}
or $name. Running the cell again replaces its task.
"""

_TAIL = """\
A thread that an --inline cell starts prints where threads of any cell do; what
asyncio.to_thread() and asyncio tasks print is on the card, with the cell's own output.

TIME is in seconds, or like 10m, 2h, 1h30m; after --until also 09:00, or a quoted date
and time. Arguments of a file that begin with a dash go after --. rm and delete are
destroy, status is list or show.
"""


def write_manual() -> str:
    """Return the manual."""
    cell = _write_options(make_options(CellOptions))
    task = _write_options([*make_options(TaskOptions), *make_options(Knobs)])
    commands = _write_table(
        (f"%cron {name} {command.usage}".rstrip(), command.help)
        for name, command in COMMANDS.items()
    )
    return "\n".join(
        (
            _HEAD,
            f"Options of a cell:\n\n{cell}\n",
            f"Options of any task:\n\n{task}\n",
            _TAIL,
            f"Commands:\n\n{commands}\n",
        )
    )


def _write_options(options: Iterable[MagicOption]) -> str:
    return _write_table((_write_option(option), option.help) for option in options)


def _write_option(option: MagicOption) -> str:
    """Return how an option is typed: ``--timezone, --tz TEXT``."""
    names = ", ".join((option.flag, *option.aliases))
    return names if option.kind is OptionKind.FLAG else f"{names} {option.kind.value}"


def _write_table(rows: Iterable[tuple[str, str]]) -> str:
    listed = list(rows)
    width = min(38, max(len(left) for left, _ in listed))
    lines = []
    for left, right in listed:
        if len(left) > width:
            lines += [f"    {left}", f"    {'':{width}}  {right}"]
        else:
            lines.append(f"    {left:{width}}  {right}")
    return "\n".join(lines)
