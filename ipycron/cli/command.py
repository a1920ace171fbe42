"""The command line: parses, calls the API, turns mistakes into one line."""

from __future__ import annotations

import argparse
import io
import os
import re
import signal
import sys
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import ipycron
from ipycron.cli.history import add_history, add_logs
from ipycron.cli.kept import add_kept
from ipycron.cli.mistakes import UsageMistake, is_file
from ipycron.cli.service import add_doctor, add_serve, add_service
from ipycron.client.options import Knobs, TaskOptions, fold_knobs
from ipycron.errors import CronSyntaxError, IpycronError
from ipycron.process.wire.printable import show_controls
from ipycron.scheduling.checks import OptionKind
from ipycron.scheduling.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipycron.cron.trigger import Trigger

_RUN_OPTIONS = (
    "name",
    "timezone",
    "start",
    "end",
    "exclude",
    "on_excluded",
    "overlap",
    "no_overlap",
    "max_executions",
    "jitter",
    "catch_up",
    "retry",
    "pool",
    "priority",
    "timeout",
    "launcher",
)
"""Those of `TaskOptions` that make sense for one file in the foreground."""
_KNOBS = tuple(field.name for field in fields(Knobs))
_ALIASES = {
    "timezone": ("--tz",),
    "max_executions": ("--max",),
}
_ACTIONS = {OptionKind.FLAG: "store_true", OptionKind.TEXTS: "append"}
_FIELDS = ("second", "minute", "hour", "day of month", "month", "day of week")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    _print_anything()
    parser = make_parser()
    given = parser.parse_args(arguments)
    try:
        result: int = given.run(given)
    except (IpycronError, TypeError, UsageMistake) as error:
        print(f"ipycron: {show_controls(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        # The next one ends it at once, without a word.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        return 130
    except BrokenPipeError:  # `ipycron next … | head`
        # The rest of the buffer is discarded, without an error at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result


def _print_anything() -> None:
    """Escape what the terminal's encoding lacks, in a file's name for example."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser; each command's function is its default `run`."""
    parser = argparse.ArgumentParser(
        prog="ipycron",
        description="Run files on a cron schedule, and control the tasks that are kept "
        "with keep=True or %%cron --keep: their service runs them without a kernel.",
    )
    version = f"ipycron {ipycron.__version__}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    _add_next(commands)
    _add_explain(commands)
    _add_why(commands)
    add_history(commands)
    add_logs(commands)
    add_kept(commands)
    add_service(commands)
    add_doctor(commands)
    add_serve(commands)
    demo = commands.add_parser("demo", help="watch three tasks for ten seconds")
    demo.add_argument("--seconds", type=float, default=10.0, help="how long")
    demo.set_defaults(run=_run_demo)
    return parser


def _add_run(commands: Any) -> None:
    run = commands.add_parser(
        "run",
        help="schedule files in the foreground, or run a kept task now",
        usage="ipycron run [options] EXPRESSION FILE [ARGS ...]\n"
        "       ipycron run [options] -f TASKS\n"
        "       ipycron run [--json] NAME",
        description="With an expression and a file: schedule the file in the "
        "foreground, until Ctrl-C. With one word only: run the kept task of that name "
        "now, wait for its end and print what it writes; its schedule goes on.",
        epilog="Exit code: 1 if the last completed run of a task failed, else 0. "
        "Arguments after the file belong to the file, as with python. A file of tasks "
        "has a line EXPRESSION FILE [ARGS ...] for each, as in a crontab, with names "
        "relative to its folder; # begins a comment line. The options apply to all its "
        "tasks.",
    )
    words = (
        run.add_argument(
            "expression", help="when, quoted: '*/5 * * * *', 'every 90s'; or NAME"
        ),
        run.add_argument("file", help="a task file, or any script"),
        run.add_argument(
            "args", nargs=argparse.REMAINDER, help="sys.argv[1:] of the file"
        ),
    )
    words[1].required = False  # a word alone is the name of a kept task
    words[-1].required = False  # Python defines it, though it may be empty
    run.add_argument(
        "-f", dest="tasks", action=_make_replacing(words), help="run a file of tasks"
    )
    for flag, text in (
        ("--timestamps", "begin each line of output with the time"),
        ("--prefix", "begin each line of output with the task's name"),
    ):
        run.add_argument(flag, action="store_true", help=text)
    run.add_argument(
        "--json", action="store_true", help="with NAME: write a JSON object"
    )
    run.add_argument(
        "--pool-limit", type=int, help="how many runs of the pool there are at once"
    )
    for field in (*fields(TaskOptions), *fields(Knobs)):
        if field.name in (*_RUN_OPTIONS, *_KNOBS):
            _add_option(run, field.name, **field.metadata)
    run.set_defaults(run=_run)


def _make_replacing(words: Sequence[argparse.Action]) -> type[argparse.Action]:
    """Return the action of an option that replaces positional arguments."""

    class Replacing(argparse.Action):
        def __call__(
            self,
            parser: argparse.ArgumentParser,  # noqa: ARG002 - argparse's
            namespace: argparse.Namespace,
            values: Any,
            option_string: str | None = None,  # noqa: ARG002
        ) -> None:
            setattr(namespace, self.dest, values)
            for word in words:
                word.required = False

    return Replacing


def _add_option(
    parser: Any,
    name: str,
    *,
    kind: OptionKind,
    help: str,  # noqa: A002 - as `option` declares it
    **_: Any,
) -> None:
    flags = (f"--{name.replace('_', '-')}", *_ALIASES.get(name, ()))
    if kind in _ACTIONS:
        parser.add_argument(*flags, action=_ACTIONS[kind], help=help)
        return
    convert: dict[OptionKind, Any] = {
        OptionKind.NUMBER: int,
        OptionKind.FACTOR: float,
        OptionKind.DURATION: float,
        OptionKind.NAMES: _split,
    }
    parser.add_argument(*flags, type=convert.get(kind, str), help=help)


def _split(text: str) -> tuple[str, ...]:
    return tuple(word for word in re.split(r"[,\s]+", text) if word)


def _add_next(commands: Any) -> None:
    following = commands.add_parser("next", help="list the next fires of an expression")
    following.add_argument("expression", nargs="+")
    following.add_argument("-n", type=_count, default=10, help="how many (10)")
    _add_when(following)
    following.set_defaults(run=_print_next)


def _add_when(parser: Any) -> None:
    """Add options for what an expression alone does not specify."""
    zone = "IANA time zone; the system's by default"
    parser.add_argument("--timezone", "--tz", help=zone)
    parser.add_argument("--hash-id", metavar="NAME", help="the name that determines H")


def _make_trigger(given: argparse.Namespace) -> Trigger:
    from ipycron.cron import validate  # noqa: PLC0415 - as the others
    from ipycron.triggers.union import read_trigger  # noqa: PLC0415

    expression = " ".join(given.expression)
    try:
        trigger = read_trigger(expression, given.timezone, hash_id=given.hash_id)
    except CronSyntaxError as error:
        if given.hash_id is not None or not validate(expression):
            raise
        # Valid except that its H needs a name.
        raise UsageMistake(f"{error}\nHere that is --hash-id NAME.") from None
    now = SystemClock().now()
    begun = trigger.begin(now, given.timezone)
    begun.check_fires(now)
    return begun


def _count(text: str) -> int:
    """Return a number of fires; `argparse` makes one line of the error."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number from 1")
    return int(text)


def _add_explain(commands: Any) -> None:
    explain = commands.add_parser("explain", help="describe an expression in words")
    explain.add_argument("expression", nargs="+")
    _add_when(explain)
    explain.add_argument("--locale", default="en", help="language (en)")
    explain.set_defaults(run=_explain)


def _add_why(commands: Any) -> None:
    why = commands.add_parser(
        "why", help="say why a task did or will run at an instant, or why not"
    )
    why.add_argument("name", metavar="NAME", help="a task of the history")
    why.add_argument("instant", metavar="AT", nargs="+", help="2026-12-01 09:00")
    why.set_defaults(run=_print_why)


def _print_why(given: argparse.Namespace) -> int:
    from ipycron.api.why import why  # noqa: PLC0415 - SQLite, for few

    print(why(given.name, " ".join(given.instant)))
    return 0


def _run(given: argparse.Namespace) -> int:
    chosen = {
        name: value
        for name in (*_RUN_OPTIONS, *_KNOBS)
        if (value := getattr(given, name)) is not None and value is not False
    }
    if given.tasks is None and given.file is None:
        return _run_kept(given, chosen)
    if given.json:
        raise UsageMistake("--json is for a kept task: ipycron run --json NAME")
    return _run_files(given, chosen)


def _run_kept(given: argparse.Namespace, chosen: dict[str, Any]) -> int:
    """Run a kept task now: there is one word only.

    Raises:
        UsageMistake: if the word or an option is for scheduling a file.
    """
    from ipycron.cli.kept import run_now  # noqa: PLC0415 - as the others

    flags = [n for n in ("timestamps", "prefix", "pool_limit") if getattr(given, n)]
    for name in (*chosen, *flags):
        raise UsageMistake(
            f"--{name.replace('_', '-')} is for scheduling a file; the kept task "
            f"{given.expression!r} has its own options"
        )
    return run_now(given.expression, is_json=given.json)


def _run_files(given: argparse.Namespace, chosen: dict[str, Any]) -> int:
    from ipycron.cli.foreground import run_file, run_lines  # noqa: PLC0415 - rich

    _set_pool(given)
    options = fold_knobs(chosen)
    marks = {"timestamps": given.timestamps, "prefix": given.prefix}
    if given.tasks is not None:
        _check_alone(given)
        return run_lines(given.tasks, **marks, **options)
    _join_words(given)
    _check_words(given)
    args = given.args[1:] if given.args[:1] == ["--"] else given.args
    return run_file(given.expression, given.file, args=args, **marks, **options)


def _set_pool(given: argparse.Namespace) -> None:
    """Set the limit of the tasks' pool: the command is the only one that uses it."""
    if given.pool_limit is not None:
        ipycron.set_pool(given.pool, given.pool_limit)
    elif given.pool is not None:
        raise UsageMistake("--pool needs its limit: --pool-limit N")


def _check_alone(given: argparse.Namespace) -> None:
    """Raise `UsageMistake` for arguments that a file of tasks makes meaningless."""
    words = [given.expression, given.file, *(given.args or ())]
    for word in words:
        if word is not None:
            raise UsageMistake(
                f"got {word!r} beside -f {given.tasks}: with -f the expressions, files "
                "and arguments are in its lines"
            )
    if given.name is not None:
        raise UsageMistake(
            "--name is for one task: those of -f have their files' names"
        )


def _join_words(given: argparse.Namespace) -> None:
    """Take a trigger without quotes: ``every 5m job.py``; a shell expands none of it.

    Raises:
        UsageMistake: if no file is left.
    """
    from ipycron.cli.tasks_file import split_task  # noqa: PLC0415 - as the others
    from ipycron.triggers.text import KEYWORDS  # noqa: PLC0415 - as the others

    if given.expression.lower() not in KEYWORDS:
        return
    words = [given.expression, given.file, *given.args]
    if given.args and given.args[0].startswith("-"):
        # What follows the second word is the file's, once there are options before it.
        trigger = f"{given.expression} {given.file}"
        raise UsageMistake(
            f"got the option {given.args[0]!r} for the file: quote the expression, or "
            f"put the options first: ipycron run {trigger!r} {given.args[0]} …"
        )
    try:
        given.expression, given.file, given.args = split_task(words)
    except IpycronError:
        raise
    except ValueError as error:
        raise UsageMistake(str(error)) from None


def _check_words(given: argparse.Namespace) -> None:
    """Answer the most common mistakes with the right usage.

    Raises:
        UsageMistake: if the words are not an expression, a file and its arguments.
    """
    from ipycron.triggers.text import is_trigger  # noqa: PLC0415 - as the others

    expression, file, args = given.expression, given.file, given.args
    if not is_trigger(expression) and _exists(expression):
        if is_trigger(file):
            raise UsageMistake(
                f"the expression comes first: ipycron run {file!r} {expression}"
            )
        raise UsageMistake(
            f"got {expression!r}, a file, for the expression: the shell has expanded "
            "a *. Quote the expression: ipycron run '* * * * *' job.py"
        )
    if not _exists(file) and is_trigger(f"{expression} {file} {' '.join(args[:3])}"):
        raise UsageMistake(
            "quote the expression: ipycron run "
            f"{' '.join([expression, file, *args[:3]])!r} job.py"
        )
    second = args[1] if len(args) > 1 and is_trigger(args[0]) else next(iter(args), "")
    if is_file(second) and (second.endswith(".py") or second is not args[0]):
        raise UsageMistake(
            f"got a second file, {second}: this command runs one. To run several, use "
            f"-f TASKS, a file with a line EXPRESSION FILE for each; if it is an "
            f"argument of {file}, write -- before it"
        )


def _exists(path: str) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - False for one that is too long


def _run_demo(given: argparse.Namespace) -> int:
    from ipycron.cli.demo import run_demo  # noqa: PLC0415 - rich

    return run_demo(given.seconds)


def _print_next(given: argparse.Namespace) -> int:
    """Print fires as they are found: there may be a hundred million of them."""
    trigger = _make_trigger(given)
    after = _now()
    for _ in range(given.n):
        instant = trigger.next(after)
        if instant is None:
            break
        after = instant
        print(f"{instant:%a %Y-%m-%d %H:%M:%S %Z}")
    return 0


def _explain(given: argparse.Namespace) -> int:
    from ipycron.cron import CronExpression  # noqa: PLC0415 - as the others

    trigger = _make_trigger(given)
    print(f"{trigger.describe(given.locale)} ({trigger.timezone})")
    if isinstance(trigger, CronExpression):
        for name, values in zip(_FIELDS, trigger.fields, strict=False):
            print(f"  {name:<14}{' '.join(map(str, values))}")
    following = trigger.upcoming(3, _now())
    print("next:", ", ".join(f"{at:%a %Y-%m-%d %H:%M:%S}" for at in following))
    for text in trigger.warnings:
        print(f"warning: {text}")
    return 0


def _now() -> datetime:
    return datetime.fromtimestamp(SystemClock().now(), UTC)
