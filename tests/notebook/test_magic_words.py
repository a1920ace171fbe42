"""The wording of `%cron`: what people type, and what it prints."""

import re

import pytest
from hours import INSTANT
from IPython.core.error import UsageError
from polling import eventually

from ipycron import get_task, get_tasks
from ipycron.errors import OverlapError
from ipycron.notebook.widgets.model import describe_run, describe_task
from ipycron.scheduling.admission import MAX_QUEUED


@pytest.fixture
def job(session):
    """A started task."""
    session.run("%%cron @yearly --name job --quiet\n1")
    task = get_task("job")
    task.start().result(20)
    return task


@pytest.mark.parametrize("line", ["rm job", "delete job", "delete --all", "rm --all"])
def test_other_words_for_destroy_work(job, session, line):
    """Synonyms from other tools: a deleted task is gone."""
    assert "job: destroyed" in session.run(f"%cron {line}")
    assert get_tasks() == {}


def test_other_words_for_the_rest_work(job, session):
    """Status is list or show."""
    assert session.run("%cron status").startswith("name")
    assert "schedule  @yearly" in session.run("%cron status job")
    assert "Run a cell or a file on a schedule" in session.run("%cron help")
    assert session.run("%cron help run").startswith("%cron run NAME...")
    assert session.run("%cron help rm").startswith("%cron destroy NAME...")


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("retry job", "run"),
        ("rerun job", "run"),
        ("trigger --all", "run"),
        ("kill job", "stop"),
        ("ls", "list"),
        ("shwo job", "show"),
        ("log job", "logs"),
        ("strat job", "start"),
    ],
)
def test_unknown_command_suggests_the_one_that_is_meant(session, line, meant):
    """Before any of its options is checked."""
    session.run(f"%cron {line}")
    error = session.result.error_in_exec
    assert type(error) is UsageError
    word = line.split()[0]
    assert str(error).startswith(
        f"%cron has no command {word!r}. Did you mean {meant!r}? Commands: list, "
    )


@pytest.mark.parametrize(
    "line", ["destory job", "detroy --all", "remove job", "drop --all --force", "x12 y"]
)
def test_nothing_suggests_what_destroys(session, line):
    """A typo must not lead to a destroyed task."""
    session.run(f"%cron {line}")
    assert "Did you mean" not in str(session.result.error_in_exec)


def test_task_that_was_stopped_while_it_started_has_not_failed(session, caplog):
    """As in `Restart & Run All` with a `%cron stop` below: nothing is red."""
    for _ in range(5):
        session.run("%%cron @yearly --name job --run-now --quiet\n1")
        session.run("%cron stop job --force")
        task = get_task("job")
        assert task.status == "stopped"
        assert describe_task(task, 0.0)["trouble"] is None
        for command in ("", "show job", "logs job"):
            assert "StartRevoked" not in session.run(f"%cron {command}")
        task.start().result(20)
        task.destroy().result(20)
    assert "StartRevoked" not in caplog.text


# --- results ------------------------------------------------------------------------


def test_results_are_added_to_a_list(session):
    """A new list or an existing one, whose items are kept."""
    session.run("rows = ['first']")
    text = session.run(
        "%%cron @yearly --name job --append-to rows\nctx.execution.reason"
    )
    assert "each result is added to rows" in text
    for _ in range(2):
        session.run("%cron run job --wait")
    eventually(lambda: len(session.names["rows"]) == 3)
    assert session.names["rows"] == ["first", "invoked", "invoked"]
    session.run("%%cron @yearly --name other --append-to fresh --quiet\n7")
    session.run("%cron run other --wait")
    assert eventually(lambda: session.names.get("fresh")) == [7]


def test_results_are_added_to_lists_only(session):
    """Another value is not replaced by a list."""
    session.run("rows = {}")
    session.run("%%cron @yearly --append-to rows\n1")
    assert str(session.result.error_in_exec) == (
        "--append-to rows: 'rows' is of type dict, expected a list, or a new name"
    )
    assert get_tasks() == {}


def test_result_that_cannot_travel_is_said_and_marked(session):
    """In its run's line, amber in the views; a list gets no stand-in."""
    session.run(
        "%%cron @yearly --name job --append-to rows --into last --quiet\n"
        "(i for i in 'ab')"
    )
    text = session.run("%cron run job --wait")
    assert "finished in " in text
    said = "not sent: <generator> (TypeError: cannot pickle 'generator' object)"
    assert said in text
    row = describe_run(get_task("job").last_run)
    assert (row["state"], row["unsent"], row["summary"]) == ("finished", True, said)
    assert eventually(lambda: session.names.get("last")).type_name == "generator"
    assert "rows" not in session.names


@pytest.mark.parametrize("cell", ["'not sent: a text'", "1", "None"])
def test_result_that_travels_is_not_marked(session, cell):
    """Whatever its text."""
    session.run(f"%%cron @yearly --name job --quiet\n{cell}")
    session.run("%cron run job --wait")
    assert "unsent" not in describe_run(get_task("job").last_run)


def test_lines_say_durations_as_the_views_do(job, session):
    """A run of a millisecond does not take 0.00 s."""
    said = session.run("%cron run job --wait")
    # Whatever it took: a busy machine may need more than milliseconds.
    assert re.search(r"finished in (\d+ ms|0\.[1-9]\d s|[1-9][\d.]* s): 1", said)


# --- widgets ------------------------------------------------------------------------

BARS = (
    "from tqdm.notebook import tqdm",
    "from tqdm.auto import tqdm",
    "import tqdm.notebook as t\ntqdm = t.tqdm_notebook",
)


@pytest.mark.parametrize("where", ["notebook", "cell", "function"])
@pytest.mark.parametrize("source", BARS)
def test_progress_bars_are_text_and_move(session, source, where):
    """A job's widget would never move: terminal bars are used."""
    body = "for _ in tqdm(range(3), desc='going', mininterval=0): pass"
    if where == "notebook":
        session.run(source)
        session.run(f"%%cron @yearly --name job --quiet\n{body}")
    elif where == "cell":
        session.run(f"%%cron @yearly --name job --quiet\n{source}\n{body}")
    else:
        session.run(f"{source}\ndef work():\n    {body}")
        session.run(
            "import ipycron\n"
            "ipycron.schedule('@yearly', work, name='job', background=True)"
        )
    get_task("job").execute().result(20)
    run = get_task("job").last_run
    assert run.output.displays == []
    bars = run.output.stderr.split("\r")
    assert [bar[:10] for bar in bars if "%" in bar][-1] == "going: 100"
    assert len([bar for bar in bars if bar.startswith("going: ")]) >= 4


def test_notebook_range_and_its_options_work_in_a_job(session):
    """`trange`, `display=False`: the text bars accept what widgets accept."""
    session.run(
        "%%cron @yearly --name job --quiet\nfrom tqdm.notebook import trange\n"
        "sum(trange(4, desc='range')) + sum(trange(3, display=False, desc='hidden'))"
    )
    assert get_task("job").execute().result(20) == 9
    shown = get_task("job").last_run.output.stderr
    assert "range: 100%" in shown
    assert "hidden" not in shown


def test_widget_is_its_text_with_a_hint(session):
    """One line says why it is not a widget."""
    session.run(
        "%%cron @yearly --name job --quiet\nimport ipywidgets\n"
        "ipywidgets.IntSlider(value=3)"
    )
    get_task("job").execute().exception(20)
    (shown,) = get_task("job").last_run.output.displays
    text, hint = shown.data["text/plain"].splitlines()
    assert text == "IntSlider(value=3)"
    assert hint == (
        "(A job has no page for widgets: this is the widget's text when it was shown.)"
    )


# --- the words of the place ---------------------------------------------------------


def test_run_that_overlaps_is_refused_in_the_words_of_magics(session):
    """With options as typed there, and without a run's id."""
    session.run(
        "%%cron @yearly --name job --no-overlap --quiet\nimport time\ntime.sleep(60)"
    )
    task = get_task("job")
    completion = task.execute()
    eventually(lambda: task.running)
    session.run("%cron run job")
    assert str(session.result.error_in_exec) == (
        "task 'job' is busy with another run and skips runs that overlap (--overlap "
        "skip or --no-overlap). Wait for that run, or create the task with --overlap "
        "queue."
    )
    with pytest.raises(
        OverlapError, match=r"busy with run [^ ]+ and skips runs that overlap"
    ) as caught:
        task.execute().result(20)
    assert caught.value.execution_id == task.running[0].id
    task.destroy(force=True).result(20)
    completion.exception(20)


def test_run_is_refused_in_one_line_when_the_queue_is_full(session):
    """It would neither run nor wait."""
    session.run(
        "%%cron @yearly --name job --overlap queue --quiet\nimport time\ntime.sleep(60)"
    )
    task = get_task("job")
    calls = [task.execute() for _ in range(MAX_QUEUED + 1)]
    eventually(lambda: len(task.queued) == MAX_QUEUED)
    assert session.run("%cron run job").startswith(
        "UsageError: task 'job': 100 runs are already waiting for the run in progress"
    )
    task.destroy(force=True).result(20)
    for call in calls:
        call.exception(20)


RUNS = """import ipycron
def fetch(ctx):
    if ctx.attempt > 2:
        raise ipycron.Cancel("no more")
    raise ConnectionError(f"no answer to attempt {ctx.attempt}")
def later():
    raise ipycron.Snooze(3600)
def wait():
    import time
    time.sleep(60)
def make(name, job, **options):
    # Nothing waits for longer than until the next slot; a year may end in an hour.
    when = ipycron.at("2999-12-01 09:00")
    job = ipycron.create_task(when, job, background=True, name=name, **options)
    job.start().result(20)
    return job
tries = make("tries", fetch, retry=ipycron.Retry(1, delay=0.01))
again = make("again", fetch, retry=ipycron.Retry(2, delay=3600))
gives = make("gives", fetch, retry=ipycron.Retry(2, delay=0.01))
snoozes = make("snoozes", later)
queues = make("queues", wait, overlap="queue")
calls = [task.execute() for task in (tries, again, gives, snoozes, *[queues] * 3)]
"""


def test_list_says_what_runs_wait_for_and_how_they_ended(session):
    """Another attempt, a later time, their turn; of attempts, how many there were."""
    session.run(RUNS)
    tasks = {name: get_task(name) for name in ("tries", "again", "gives", "snoozes")}
    queues = get_task("queues")
    eventually(lambda: tasks["tries"].history and tasks["gives"].history)
    for name in ("again", "snoozes"):
        eventually(lambda name=name: tasks[name].running[0].next_attempt_at)
    eventually(lambda: queues.running and len(queues.queued) == 2)
    shown = {name: session.run(f"%cron show {name}") for name in (*tasks, "queues")}
    assert re.search(r"^queues +running, 2 queued$", shown["queues"], re.MULTILINE)
    assert re.search(r"^again +retrying$", shown["again"], re.MULTILINE)
    assert re.search(
        rf"^last run +{INSTANT} attempt 2 at {INSTANT}: ConnectionError: no answer to "
        r"attempt 1$",
        shown["again"],
        re.MULTILINE,
    )
    assert re.search(r"^snoozes +snoozed$", shown["snoozes"], re.MULTILINE)
    assert re.search(
        rf"{INSTANT} snoozed, goes on at {INSTANT}$", shown["snoozes"], re.MULTILINE
    )
    assert re.search(
        r"failed after .+, 2 attempts: ConnectionError: no answer to attempt 2",
        shown["tries"],
        re.MULTILINE,
    )
    assert re.search(
        r"cancelled after .+, 3 attempts: no more$", shown["gives"], re.MULTILINE
    )
    for task in (*tasks.values(), queues):
        task.destroy(force=True).result(20)
    session.run("[call.exception(20) for call in calls];")


def test_run_of_a_stopped_task_is_refused_in_the_words_of_magics(job, session):
    """It names a command, not a method."""
    session.run("%cron stop job")
    session.run("%cron run job")
    assert str(session.result.error_in_exec) == (
        "task 'job' is stopped. Start it with %cron start."
    )


def test_timeout_is_said_in_the_words_of_magics(session):
    """For a start that takes too long, wherever it is shown."""
    session.run(
        "import time\nclass Slow:\n"
        "    def __reduce__(self): return time.sleep, (30,)\nslow = Slow()"
    )
    session.run("%%cron @yearly --name job --start-timeout 0.3 --quiet\nslow")
    task = get_task("job")
    assert "start_timeout" in str(task.start().exception(20))
    row = describe_task(task, 0.0)["trouble"]
    for text in (session.run("%cron show job"), session.run("%cron logs job"), row):
        assert "raise --start-timeout" in text
        assert "start_timeout" not in text


def test_errors_of_the_users_are_not_reworded(session):
    """A user's own name may equal an option's."""
    session.run("%%cron @yearly --name job --quiet\nmax_executions + 1")
    assert "name 'max_executions' is not defined" in session.run("%cron run job --wait")
