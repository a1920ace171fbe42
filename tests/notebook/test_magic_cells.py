"""`%%cron`: schedules the cell, reports it, and owns what it declares."""

import itertools
import re

import pytest
from kernel import strip_colours
from polling import eventually
from trouble import get_zygote, stopped

import ipycron
from ipycron import get_task, get_tasks
from ipycron.errors import StartRevoked

DEADLINE = 20.0


def names():
    """Return the names of all tasks."""
    return [task.name for task in get_tasks().values()]


# --- what was understood ------------------------------------------------------------


def test_cell_says_what_it_has_understood(session):
    """One line: name, schedule in words, zone, next fires, captured variables."""
    session.run("n = 3\ndef double(x):\n    return 2 * x")
    said = session.run("%%cron 0 9 * * mon-fri --tz Europe/Berlin\ndouble(n)")
    assert re.fullmatch(
        r"cell-\d+: At 09:00, Monday through Friday \(Europe/Berlin\), next "
        r"(20\d\d-\d\d-\d\d )?09:00, 20\d\d-\d\d-\d\d 09:00, 20\d\d-\d\d-\d\d 09:00; "
        r"captured: double \(function\), n \(int\), \d+ B in all\n",
        said,
    )


def test_cell_says_seconds_where_there_are_some(session):
    """Fires are shown as precisely as they differ."""
    said = session.run("%%cron */20 * * * * *\n1")
    day = r"(20\d\d-\d\d-\d\d )?"  # shown around midnight
    assert re.search(rf"next ({day}\d\d:\d\d:\d\d(, )?){{3}}\n", said)


def test_cell_says_no_more_fires_than_there_will_be(session):
    """``--max`` is taken into account."""
    said = session.run("%%cron */10 * * * * --max 1\n1")
    assert re.search(r"next [^,]*\n", said)


def test_cell_is_silent_when_it_is_to_be_quiet(session):
    """``--quiet`` prints nothing; the task exists."""
    assert session.run("%%cron @yearly --quiet --name still\nprint(1)") == ""
    session.run("%cron run still --wait")
    assert names() == ["still"]


def test_comments_above_the_header_do_no_harm(session):
    """The header need not be the first line."""
    session.run("# why this runs\n\n# at all\n%%cron @yearly --name it\n1")
    assert names() == ["it"]


def test_line_expands_variables_and_the_body_does_not(session):
    """``{name}`` and ``$name`` in the line; the cell stays as typed."""
    session.run("who, n = 'ann', 7")
    session.run('%%cron @yearly --name "{who}-$n-{n + 1}-$$x-{{y}}"\n"{who}"')
    assert names() == ["ann-7-8-$x-{y}"]
    assert get_task("ann-7-8-$x-{y}").execute().result(DEADLINE) == "{who}"


def test_line_expands_the_variables_of_the_function_it_stands_in(session, tmp_path):
    """A loop or a function can schedule many files."""
    (tmp_path / "job.py").write_text("print(1)")
    session.run(
        f"def schedule(name):\n    %cron @yearly --name {{name}} {tmp_path}/job.py\n"
        "for name in 'ab':\n    schedule(name + name)"
    )
    assert names() == ["aa", "bb"]


# --- what it runs ---------------------------------------------------------------------


def test_cell_runs_with_what_it_uses(session):
    """Variables, functions and modules, and a snapshot of them."""
    session.run("import math\nn = 3\ndef area(r):\n    return math.pi * r ** n")
    session.run("%%cron @yearly --name it\nround(area(2), 2)")
    session.run("n = 4")
    assert get_task("it").execute().result(DEADLINE) == 25.13


def test_cell_knows_its_run(session):
    """The variable `ctx` says which run it is."""
    session.run("%%cron @yearly --name it\nctx.task.name, ctx.execution.reason")
    assert get_task("it").execute().result(DEADLINE) == ("it", "invoked")


def test_cell_takes_exactly_what_is_asked_for(session):
    """``--capture`` and ``--no-capture`` decide what is captured."""
    session.run("a, b = 1, 2")
    said = session.run(
        "%%cron @yearly --name it --capture a\nsorted(set('ab') & set(globals()))"
    )
    assert "captured: a (int)" in said
    assert get_task("it").execute().result(DEADLINE) == ["a"]
    said = session.run("%%cron @yearly --name it --no-capture\n'a' in globals()")
    assert "captured" not in said
    assert get_task("it").execute().result(DEADLINE) is False


def test_cell_has_the_magics_of_loaded_extensions(session):
    """A worker loads the extension whose magic a cell uses."""
    session.run("%load_ext autoreload")
    session.run("%%cron @yearly --name it\n%autoreload off\n1")
    assert get_task("it").execute().result(DEADLINE) == 1


def test_failure_speaks_of_the_lines_of_the_cell(session):
    """Line numbers include the header; the cell has its task's name."""
    session.run("%%cron @yearly --name it\nx = 1\nx / 0")
    completion = get_task("it").execute()
    with pytest.raises(ZeroDivisionError):
        completion.result(DEADLINE)
    text = strip_colours(get_task("it").last_run.traceback_text)
    assert "Cell it, line 3" in text
    assert "----> 3 x / 0" in text


def test_results_go_to_a_variable(session):
    """``--into`` binds the value of each successful run, and of no other."""
    session.run("%%cron @yearly --name it --into got\nlen(str(ctx.date))\n[1, 2]")
    get_task("it").execute().result(DEADLINE)
    assert eventually(lambda: session.names.get("got")) == [1, 2]
    session.run("%%cron @yearly --name it --into got\n1 / 0")
    get_task("it").execute().exception(DEADLINE)
    assert session.names["got"] == [1, 2]


def test_results_leave_the_notebook_as_it_is(session):
    """Captured classes and functions are returned as themselves."""
    session.run(
        "import enum\nrate = 1\nMISSING = object()\n"
        "class K:\n    n = 0\n    def f(self): return rate\n"
        "class Color(enum.Enum):\n    RED = 1\n"
        "class Failure(Exception):\n    code = 1\n"
        "def helper(): return rate"
    )
    session.run(
        "%%cron @yearly --name it --into got\nK.n += 1\n"
        "[K(), helper, Color.RED, MISSING, K.n]"
    )
    session.run("%%cron @yearly --name bad\nraise Failure(helper())")
    task = get_task("it")
    task.execute().result(DEADLINE)
    session.run("rate = 2\nK.n = Failure.code = 7\nK.f = lambda self: 'patched'")
    eventually(lambda: session.names.pop("got", None))
    task.execute().result(DEADLINE)
    error = get_task("bad").execute().exception(DEADLINE)
    value, *others, count = eventually(lambda: session.names.get("got"))
    names = session.names
    assert (type(value), type(error)) == (names["K"], names["Failure"])
    assert others == [names["helper"], names["Color"].RED, names["MISSING"]]
    assert (names["K"].n, value.f(), names["helper"](), count) == (7, "patched", 2, 2)
    assert (error.args, error.code) == ((1,), 7)


def test_cell_runs_at_once_when_it_is_to(session):
    """``--run-now`` does not wait for the schedule."""
    session.run("%%cron @yearly --run-now --into got\n'now'")
    assert eventually(lambda: session.names.get("got")) == "now"


def test_cell_runs_on_its_schedule(session):
    """Every second, until it is stopped."""
    session.run("%%cron * * * * * * --name it\nctx.date.second")

    def find_steps():
        dates = [run.date.timestamp() for run in get_task("it").history]
        return [after - before for before, after in itertools.pairwise(dates)]

    # A busy machine may miss a slot in between.
    assert min(eventually(lambda: 1 in find_steps() and find_steps())) == 1


def test_file_runs_with_its_arguments(session, tmp_path, monkeypatch):
    """A script is named after its file; words after it are its arguments."""
    (tmp_path / "job.py").write_text("import sys\nprint(sys.argv[1:])")
    monkeypatch.chdir(tmp_path)
    session.run("%cron @yearly job.py a --timeout 10 -- --name b")
    task = get_task("job")
    task.execute().result(DEADLINE)
    assert task.last_run.output.stdout == "['a', '--name', 'b']\n"
    assert task.options.timeout == 10.0


# --- whose it is ----------------------------------------------------------------------


def test_cell_replaces_its_task_when_it_runs_again(session):
    """The same cell has the same task, with the same name."""
    session.run("%%cron @yearly\n1")
    (before,) = get_tasks().values()
    said = session.run("%%cron @yearly\n1")
    assert said.rstrip().endswith(f"replaces {before.name}")
    eventually(lambda: before.status == "destroyed")
    assert names() == [before.name]


def test_cell_replaces_its_task_when_it_is_edited(session):
    """The front end's id identifies a cell, whatever it contains."""
    session.shell.run_cell("%%cron @yearly\n1", cell_id="one")
    session.shell.run_cell("%%cron @yearly\n1", cell_id="two")
    first, second = get_tasks().values()
    session.shell.run_cell("%%cron @daily\n2", cell_id="one")
    eventually(lambda: first.status == "destroyed")
    assert sorted(names()) == sorted([second.name, first.name])
    assert get_task(first.name).pattern == "@daily"


def test_cell_ends_its_task_when_it_declares_it_no_more(session):
    """A cell from which the magic was removed ends its task and says so."""
    session.shell.run_cell("%%cron @yearly\n1", cell_id="one")
    (task,) = get_tasks().values()
    session.read()
    session.shell.run_cell("x = 1", cell_id="one")
    assert session.read() == f"{task.name}: ended, the cell no longer declares it\n"
    eventually(lambda: not names())


def test_cell_says_that_a_task_goes_on_when_its_name_is_edited(session):
    """A name is for the whole notebook: the old task was not ended."""
    session.shell.run_cell("%%cron @yearly --name old\n1", cell_id="one")
    session.shell.run_cell("%%cron @yearly --name old\n2", cell_id="one")
    assert "continues" not in session.read()
    session.shell.run_cell("%%cron @yearly --name new\n2", cell_id="one")
    said = session.read().splitlines()[-1]
    assert said == (
        "old: continues, although the cell no longer declares it; "
        "`%cron destroy old` ends it"
    )
    assert " (no longer declared)" in session.run("%cron")
    session.shell.run_cell(
        "%%cron @yearly --name new --if-exists keep\n3", cell_id="one"
    )
    assert "continues" not in session.read()
    assert set(names()) == {"new", "old"}


@pytest.mark.parametrize(
    "edited",
    [
        "%%cron @yearly --name it\ndef f(:",
        "%%cron @yeerly\n1",
        "1 +",
        "1 / 0",
    ],
)
def test_cell_says_that_its_tasks_go_on_when_it_fails(session, edited):
    """Nothing new was declared, and earlier declarations continue."""
    for name in ("", "--name it"):
        session.shell.run_cell(f"%%cron @yearly {name}\n1", cell_id="one" + name)
        (task,) = get_tasks().values()
        session.read()
        session.shell.run_cell(edited, cell_id="one" + name)
        said = session.read().splitlines()[-1]
        assert said == (
            f"{task.name}: continues unchanged: the cell failed before it declared "
            f"anything; `%cron destroy {task.name}` ends it"
        )
        assert "declared before its cell failed" in session.run("%cron")
        session.shell.run_cell(f"%%cron @yearly {name}\n2", cell_id="one" + name)
        assert "continues" not in session.read()
        assert "its cell failed" not in session.run("%cron")
        session.run("%cron destroy --all")


def test_list_marks_tasks_of_no_cell_of_this_session(session):
    """A cell's own tasks are not marked; others are."""
    session.run("import ipycron, threading")
    session.run("ipycron.schedule('@yearly', print, name='own')")
    session.run("%%cron @yearly --name cell\n1")
    ipycron.create_task("@yearly", print, name="other")
    rows = {line.split()[0]: line for line in session.run("%cron").splitlines()}
    assert "stopped (of no cell of this session)" in rows["other"]
    assert not any("(" in rows[name].split("@")[0] for name in ("own", "cell"))


def test_nothing_has_failed_when_a_start_is_called_off(session, caplog):
    """Stopping a task that is being loaded is not a failure."""
    with stopped(get_zygote()):
        session.shell.run_cell("%%cron @yearly --name it\n1")
        task = get_task("it")
        stop = task.stop()
    stop.result(DEADLINE)
    error = eventually(lambda: task.start_error)
    assert isinstance(error, StartRevoked)
    assert not task.is_starting
    assert "did not start" not in session.read()
    assert not [r for r in caplog.records if "did not start" in r.getMessage()]


def test_cell_keeps_its_task_when_it_fails(session):
    """A typo ends nothing."""
    session.shell.run_cell("%%cron @yearly\n1", cell_id="one")
    before = names()
    session.shell.run_cell("%%cron @yearlyy\n1", cell_id="one")
    session.shell.run_cell("%%cron @yearly\n1 = 2", cell_id="one")
    assert names() == before


def test_cell_owns_several_tasks(session, tmp_path):
    """Tasks made in a loop have their own names, each time."""
    (tmp_path / "job.py").write_text("print(1)")
    loop = f"for e in ('@daily', '@weekly'):\n    %cron {{e}} {tmp_path}/job.py"
    session.shell.run_cell(loop, cell_id="loop")
    session.shell.run_cell(loop, cell_id="loop")
    eventually(lambda: sorted(names()) == ["job", "job-2"])
    assert get_task("job-2").pattern == "@weekly"
    session.shell.run_cell(loop.replace("'@weekly'", ""), cell_id="loop")
    eventually(lambda: names() == ["job"])


def test_cell_owns_what_it_schedules_by_the_api(session):
    """Running a cell with `schedule()` again replaces its task, too."""
    session.run("import ipycron\ndef job():\n    return 1")
    source = "task = ipycron.schedule('@yearly', job)"
    session.run(source)
    first = session.names["task"]
    session.run(source)
    second = session.names["task"]
    eventually(lambda: first.status == "destroyed")
    assert list(get_tasks().values()) == [second]


def test_named_task_belongs_to_no_cell(session):
    """A task with a name is replaced by name, wherever it is declared."""
    session.shell.run_cell("%%cron @yearly --name a\n1", cell_id="one")
    session.shell.run_cell("x = 1", cell_id="one")
    assert names() == ["a"]
    session.shell.run_cell("%%cron @daily --name a\n1", cell_id="two")
    eventually(lambda: names() == ["a"])
    assert get_task("a").pattern == "@daily"


def test_named_task_is_kept_when_so_asked(session):
    """``--if-exists keep`` leaves the first task as it is, and says so."""
    session.run("%%cron @yearly --name a\n1")
    before = get_task("a")
    said = session.run("%%cron @daily --name a --if-exists keep\n2")
    assert "a: At 00:00" in said
    assert said.rstrip().endswith("kept as it was")
    assert get_task("a") is before


def test_cells_inside_of_a_cell_belong_to_it(session):
    """`%%capture` runs a cell inside; the outer cell is the owner."""
    magic = "get_ipython().run_cell_magic('cron', '@yearly', '1')"
    source = f"%%capture out\n%cron list\n{magic}"
    session.shell.run_cell(source, cell_id="one")
    assert len(names()) == 1
    session.shell.run_cell("x = 1", cell_id="one")
    eventually(lambda: not names())


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("name = 'thr' + 'esh'\nglobals()[name]", "KeyError"),
        ("eval('thr' + 'esh')", "NameError"),
        (
            "raise ValueError('Table with name thresh does not exist!')",
            "ValueError",
        ),
    ],
)
def test_name_that_was_left_behind_is_named_with_the_way_out(session, cell, kind):
    """If the cell looks up a notebook's variable by a computed name."""
    session.run("thresh = 1\nbase = 2")
    session.run(f"%%cron @yearly --name left\nbase\n{cell}")
    text = session.run("%cron run left --wait")
    assert kind in text
    assert (
        "The notebook has 'thresh', which the cell did not take along. Declare it with "
        "--capture base,thresh"
    ) in text


def test_unknown_name_is_left_alone(session):
    """A `KeyError` of the cell's own has no note about the notebook."""
    session.run("%%cron @yearly --name left\n{}['nobody']")
    assert "The notebook has" not in session.run("%cron run left --wait")
