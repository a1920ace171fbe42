"""Options: every wrong value is an error that names the option and its values."""

import dataclasses
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from dateutil import tz

import ipycron
from ipycron.client.options import (
    _ELSEWHERE,
    _OTHER_WAYS,
    TaskOptions,
    make_options,
)
from ipycron.errors import (
    CaptureError,
    InvalidOption,
    TaskFileNotFound,
    UnknownOption,
    UnknownTimezone,
    describe_value,
)

DURATIONS = ("jitter", "tolerance", "stop_timeout")
DEADLINES = ("start_timeout", "distributed_lease", "timeout", "execute_timeout")
FLAGS = ("no_overlap", "day_or", "suppress_missed_warning", "distributed")
FLAGS += ("keep", "unref")
NO_DURATION = (-1, -0.001, float("nan"), float("inf"), True, False, "5", [5], 10**400)
NEVER = "0 0 1 1 *"


@pytest.mark.parametrize("name", DURATIONS + DEADLINES)
@pytest.mark.parametrize("value", NO_DURATION)
def test_duration_refuses_invalid_values(name, value):
    """Negative, NaN, infinite, bool and text are not durations."""
    with pytest.raises(InvalidOption) as caught:
        make_options({name: value})
    assert str(caught.value).startswith(f"{name}: got {value!r:.200}, expected seconds")
    assert caught.value.option == name


@pytest.mark.parametrize("name", DURATIONS + DEADLINES)
@pytest.mark.parametrize("value", [1, 0.5, timedelta(minutes=2)])
def test_duration_is_kept_as_seconds(name, value):
    """int, float and timedelta are converted to float seconds."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    kept = getattr(make_options({name: value}), name)
    assert (kept, type(kept)) == (seconds, float)


@pytest.mark.parametrize("name", DEADLINES)
def test_deadline_refuses_zero(name):
    """A timeout of zero would end everything at once."""
    with pytest.raises(InvalidOption, match=f"{name}: got 0, expected seconds > 0"):
        make_options({name: 0})


@pytest.mark.parametrize("name", DURATIONS)
def test_duration_may_be_zero(name):
    """Zero delay, tolerance and patience are all valid."""
    assert getattr(make_options({name: 0}), name) == 0.0


@pytest.mark.parametrize("value", [0, -1, True, 1.0, "3", float("nan")])
def test_limit_refuses_invalid_counts(value):
    """`max_executions=0` does not mean unlimited; None does."""
    with pytest.raises(InvalidOption, match="expected a whole number ≥ 1, or None"):
        make_options({"max_executions": value})


@pytest.mark.parametrize("value", [-1, True, 1.5, None, "3"])
def test_restarts_refuse_invalid_counts(value):
    """`max_restarts` is a whole number, 0 included."""
    with pytest.raises(InvalidOption, match=r"max_restarts: got .* a whole number ≥ 0"):
        make_options({"max_restarts": value})
    assert make_options({"max_restarts": 0}).max_restarts == 0


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("value", [1, 0, "yes", None])
def test_flag_is_true_or_false_only(name, value):
    """Truthy values are refused: ``unref="no"`` must not mean True."""
    with pytest.raises(InvalidOption, match=rf"{name}: got .* expected True or False"):
        make_options({name: value})


WRONG = [
    ("name", "", "non-empty text"),
    ("name", "   ", "non-empty text"),
    ("name", 7, "non-empty text"),
    ("name", "lone \ud800", "text without lone surrogates"),
    ("timezone", 3, "an IANA name, a tzinfo, or None"),
    ("args", "--all", "a list of str"),
    ("args", [1], "a list of str"),
    ("env", ["A"], "a dict of str to str"),
    ("env", {"A": 1}, "a dict of str to str"),
    ("args", ["lone \ud800"], "a list of str"),
    ("env", {"A": "lone \ud800"}, "a dict of str to str"),
    ("env", {"A": "null \0"}, "a dict of str to str"),
    ("max_executions", 2**63, "a number below 2**63"),
    ("max_restarts", 10**30, "a number below 2**63"),
    ("max_result_bytes", 2**63, "a number below 2**63"),
    ("cwd", "/no/such/folder", "an existing folder"),
    ("cwd", __file__, "an existing folder"),
    ("if_exists", "ignore", "one of 'replace', 'keep', 'error'"),
    ("launcher", "thread", "one of 'fork', 'spawn'"),
    ("background", 1, "True or False"),
    ("logger", "ipycron", "a logging.Logger, or None"),
    ("max_result_bytes", 0, "a number of bytes ≥ 1"),
    ("max_result_bytes", 1e6, "a number of bytes ≥ 1"),
]


@pytest.mark.parametrize(("name", "value", "expected"), WRONG)
def test_wrong_value_names_the_option_and_what_it_takes(name, value, expected):
    """Option, value and expectation, in one sentence."""
    with pytest.raises(InvalidOption) as caught:
        make_options({name: value})
    shown = describe_value(name, value)  # of `env` and `args` never the value
    assert str(caught.value).startswith(f"{name}: got {shown}, expected {expected}")


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("timezon", "timezone"),
        ("no_overlaps", "no_overlap"),
        ("maxExecutions", "max_executions"),
        ("time_out", "timeout"),
        ("xyz", None),
    ],
)
def test_unknown_option_is_met_with_the_known_ones(typo, meant):
    """A near miss is suggested; all names are listed."""
    with pytest.raises(UnknownOption) as caught:
        ipycron.schedule(NEVER, print, **{typo: 1})
    text = str(caught.value)
    assert text.startswith(f"{typo!r} is not an option.")
    assert (f"Did you mean {meant!r}?" in text) == (meant is not None)
    assert "Known options: args, background, catch_up, cwd," in text


def test_defaults_are_those_of_the_specification():
    """Every default of A13."""
    options = make_options({})
    names = TaskOptions.__dataclass_fields__
    assert {name: getattr(options, name) for name in names} == {
        "name": None, "timezone": None, "day_or": True, "no_overlap": False,
            "overlap": "allow",
        "max_executions": None, "jitter": 0, "history": True,
        "tolerance": 1, "catch_up": "none", "start": None, "end": None,
            "exclude": None, "on_excluded": "skip",
        "suppress_missed_warning": False,
        "retry": 0, "pool": None, "priority": 0,
            "timeout": None, "execute_timeout": None, "start_timeout": 5,
        "stop_timeout": 5, "max_restarts": 3, "distributed": False,
        "run_coordinator": None, "distributed_lease": 30, "logger": None,
        "args": (), "env": None, "cwd": None, "if_exists": "replace",
        "background": None, "launcher": None, "worker_init": None, "executor": None,
        "echo": True, "keep": False, "unref": False,
        "max_result_bytes": 64 * 1024 * 1024,
    }  # fmt: skip


def test_every_option_has_its_help():
    """The magics and the command take their help from here."""
    for field in TaskOptions.__dataclass_fields__.values():
        assert field.metadata["help"]


NAMES = [
    "plain",
    "with 'quotes' and \"more\"",
    "<b>bold</b>",
    "tab\tand\nnewline\x1b[31m",
    "\u202eright to left",
    "a/b\\c",
    "名前",
    "x" * 10_000,
]


@pytest.mark.parametrize("name", NAMES)
def test_any_text_may_be_a_name(name):
    """Unusual names are escaped when shown, not refused, and can be looked up."""
    task = ipycron.create_task(NEVER, lambda: 1, name=name)
    try:
        assert ipycron.get_task(name) is task
        assert task.name == name
        assert repr(task).isprintable()
    finally:
        ipycron.shutdown()


def test_job_and_expression_are_checked_before_anything_starts(tmp_path):
    """A call with invalid arguments fails and leaves no task behind."""
    missing = tmp_path / "missing.py"
    cases = [
        ((NEVER, missing), {}, TaskFileNotFound, "missing.py does not exist"),
        ((NEVER, tmp_path), {}, TaskFileNotFound, "is not a file. Give the path of"),
        ((NEVER, "./missing.py"), {}, TaskFileNotFound, "relative to"),
        ((NEVER, "~nobody-at-all/job.py"), {}, TaskFileNotFound, "does not exist"),
        ((NEVER, 42), {}, InvalidOption, "a path, a function or a coroutine"),
        ((NEVER, divmod), {}, TypeError, "expected none or one"),
        (("61 * * * *", print), {}, ipycron.CronSyntaxError, "61"),
        (("0 0 30 2 *", lambda: 1), {}, ipycron.CronSyntaxError, "never"),
        ((7, lambda: 1), {}, ipycron.CronSyntaxError, r"expression: got 7 \(int\)"),
        ((NEVER, lambda: 1), {"timezone": "Europe/Berlim"}, UnknownTimezone,
         "Did you mean 'Europe/Berlin'"),
        ((NEVER, lambda: 1), {"timeout": 5}, InvalidOption, "a thread cannot be kill"),
        ((NEVER, __file__), {"background": False}, InvalidOption, "a file runs in a"),
        ((NEVER, __file__), {"timezone": timezone(timedelta(seconds=0.5))},
         InvalidOption, "in whole seconds"),
        ((NEVER, lambda: 1), {"distributed": True}, InvalidOption, "a name with dist"),
    ]  # fmt: skip
    for arguments, options, kind, text in cases:
        with pytest.raises(kind, match=text):
            ipycron.schedule(*arguments, **options)
    assert not ipycron.get_tasks()
    ipycron.shutdown()


def test_coroutine_function_needs_a_running_loop():
    """Without a loop it is refused, with advice."""

    async def job():
        return 1

    with pytest.raises(InvalidOption, match=r"no event loop is running.*background="):
        ipycron.create_task(NEVER, job)


def test_function_that_cannot_travel_names_the_variable():
    """The capture error names the variable and its type."""
    generator = (x for x in ())

    def job():
        return next(generator)

    with pytest.raises(CaptureError, match=r"'generator' \(generator\) cannot be sent"):
        ipycron.create_task(NEVER, job, background=True)


@pytest.mark.parametrize(
    "zone",
    ["Europe/Berlin", ZoneInfo("Europe/Berlin"), UTC, timezone(timedelta(hours=2))],
)
def test_zone_may_be_a_name_or_a_tzinfo(zone):
    """A task's zone is its schedule's, however it was given."""
    task = ipycron.create_task(NEVER, lambda: 1, timezone=zone)
    assert task.timezone == str(zone)
    ipycron.shutdown()


def test_logger_may_be_any_logger():
    """A logger is stored as it is."""
    logger = logging.getLogger("x")
    assert make_options({"logger": logger}).logger is logger


def test_tasks_with_equal_options_share_them():
    """Tasks on the same schedule share one object; another zone is another."""
    first, same, other = (
        ipycron.create_task(NEVER, lambda: 1, stop_timeout=7, timezone=zone)
        for zone in ("UTC", "UTC", None)
    )
    assert same.expression is first.expression
    assert same.options is first.options
    assert other.expression is not first.expression
    assert other.options is not first.options
    ipycron.shutdown()


def test_tasks_do_not_share_what_is_drawn_from_their_names():
    """Each task has its own minute for an H, though the text is the same."""
    tasks = [ipycron.create_task("H H * * *", print, name=f"n{n}") for n in range(20)]
    assert [task.expression.hash_id for task in tasks] == [task.name for task in tasks]
    assert len({task.next_runs(1)[0] for task in tasks}) > 1
    ipycron.shutdown()


class Alike:
    """Compares equal to every instance of its class, and is unhashable."""

    def __eq__(self, other):
        return isinstance(other, Alike)

    __hash__ = None


class OwnLogger(Alike, logging.Logger):
    """A user's logger."""


class OwnCoordinator(Alike):
    """A user's coordinator."""

    def should_run(self, key, lease):
        """Run everything."""
        return bool(key and lease)

    def on_complete(self, key):
        """Do nothing."""


class OwnExecutor(Alike, ThreadPoolExecutor):
    """A user's executor."""


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("env", lambda: {"A": "1"}),
        ("logger", lambda: OwnLogger("x")),
        ("run_coordinator", OwnCoordinator),
        ("executor", OwnExecutor),
    ],
)
def test_options_with_values_of_their_own_are_not_shared(name, make):
    """Each task keeps its own objects, even if they compare equal."""
    first, second = (make_options({name: make()}) for _ in range(2))
    assert getattr(first, name) is not getattr(second, name)


def test_system_zone_is_not_the_zone_of_its_name():
    """The system's zone may differ where a task is sent."""
    system = ipycron.create_task(NEVER, lambda: 1)
    named = ipycron.create_task(NEVER, lambda: 1, timezone=system.timezone)
    assert named.expression is not system.expression
    ipycron.shutdown()


class OwnZone(Alike, tzinfo):
    """A user's time zone."""

    def utcoffset(self, _):
        """Return one hour."""
        return timedelta(hours=1)

    def dst(self, _):
        """Return no daylight saving time."""
        return timedelta(0)


@pytest.mark.parametrize("zone", [tz.gettz("Europe/Berlin"), tz.tzutc(), OwnZone()])
def test_zone_needs_no_hash(zone):
    """Two tasks in one unhashable zone, as those of dateutil are."""
    tasks = [ipycron.create_task(NEVER, print, timezone=zone) for _ in range(2)]
    assert all(task.expression.timezone is zone for task in tasks)
    assert all(task.next_runs(1) for task in tasks)
    ipycron.shutdown()


def test_folder_that_was_deleted_is_named(tmp_path, monkeypatch):
    """A background task needs its working directory."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    try:
        with pytest.raises(InvalidOption, match="the working directory was deleted"):
            ipycron.create_task(NEVER, lambda: 1, background=True)
    finally:
        ipycron.shutdown()


@pytest.mark.parametrize("value", ["name", 7, [None]])
def test_wait_refuses_values_that_are_not_tasks(value):
    """It takes one task, several, or none for all."""
    with pytest.raises(InvalidOption, match="expected tasks, or None for all of them"):
        ipycron.wait(value)


def test_wait_takes_one_task():
    """A single task need not be put into a list."""
    try:
        assert ipycron.wait(ipycron.create_task(NEVER, lambda: 1), timeout=5)
    finally:
        ipycron.shutdown()


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("tz", "Here it is called 'timezone'."),
        ("maxRandomDelay", "Here it is called 'jitter'."),
        ("missed_execution_tolerance", "Here it is called 'tolerance'."),
        ("misfire_grace_time", "Here it is called 'tolerance'."),
        ("startingDeadlineSeconds", "Here it is called 'tolerance'."),
        ("max_instances", "Here it is called 'no_overlap'."),
        ("concurrencyPolicy", "Here it is called 'overlap'."),
        ("replace_existing", "Here it is called 'if_exists'."),
        ("maxExecutions", "Did you mean 'max_executions'?"),
        ("coalesce", "Here it is called 'catch_up'."),
        ("fleet_overlap", "by each instance for itself"),
        ("runOnInit", "Call execute()"),
        ("next_run_time", "Call execute()"),
        ("day_of_week", "When it runs is the expression"),
        ("schedule_interval", "When it runs is the expression"),
        ("second", "When it runs is the expression"),
        ("start_date", "Here it is called 'start'."),
        ("endDate", "Here it is called 'end'."),
        ("max_retries", "Here it is called 'retry'"),
        ("retry_delay", "Pass retry=3, or retry=Retry(3, delay=30)"),
        ("once", "Pass max_executions=1."),
        ("tags", "tags have no counterpart"),
        ("onComplete", 'Use on("execution:finished", listener)'),
        ("unrefTimeout", "Here it is called 'unref'."),
        ("no_overlapp", "Did you mean 'no_overlap'?"),
    ],
)
def test_option_of_another_scheduler_is_pointed_to_ours(name, advice):
    """Options known from elsewhere are answered with our names for them."""
    with pytest.raises(UnknownOption, match=re.escape(advice)):
        make_options({name: 1})


def test_every_option_that_is_pointed_to_exists():
    """No advice leads to another error, or away from an option of ours."""
    known = {field.name for field in dataclasses.fields(TaskOptions)}
    assert set(_ELSEWHERE) <= known
    theirs = " ".join([*_ELSEWHERE.values(), *_OTHER_WAYS.values()]).split()
    assert known.isdisjoint(theirs)
    assert len(theirs) == len(set(theirs))


def test_step_wider_than_its_field_is_logged_where_it_is_declared(caplog):
    """It is valid but perhaps unintended."""
    ipycron.create_task("*/90 * * * *", lambda: 1, name="report")
    ipycron.create_task(ipycron.CronExpression("0 */36 * * *"), lambda: 1, name="other")
    ipycron.shutdown()
    assert [record.getMessage()[:40] for record in caplog.records] == [
        "task 'report': minute: the step of '*/90",
        "task 'other': hour: the step of '*/36' i",
    ]


def test_hash_without_a_name_is_logged_once(caplog):
    """Its times differ at each start; logged once, however many tasks do it."""
    ipycron.create_task("H 9 * * *", lambda: 1, name="named")
    ipycron.create_task("0 9 * * Thu", lambda: 1)
    assert not caplog.records
    for _ in range(3):
        ipycron.create_task("H H * * *", lambda: 1)
    ipycron.shutdown()
    (record,) = caplog.records
    assert "gets a different time at each start; give it a name" in record.getMessage()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"env": {"A": "1"}}, "env: got .*, expected None for a function in this"),
        ({"cwd": "/"}, "cwd: got '/', expected None for a function in this process"),
        ({"launcher": "spawn"}, "launcher: got 'spawn', expected None for a function"),
    ],
)
def test_option_without_effect_is_refused(options, text):
    """An option that nothing would read was meant for something else."""
    with pytest.raises(InvalidOption, match=text):
        ipycron.create_task(NEVER, print_nothing, **options)


def print_nothing():
    """The smallest job."""
