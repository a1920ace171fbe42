"""`--distributed --coordinator NAME` and `--on NAME`: objects of the notebook."""

import re

import loky
import pytest
from polling import eventually

import ipycron
from ipycron import get_task
from ipycron.notebook.widgets.model import describe_task


class Voter:
    """Gives the answer it is told to."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def should_run(self, key, lease):
        """Answer."""
        self.asked.append((key, lease))
        return self.answer

    def on_complete(self, key):
        """Do nothing."""


@pytest.fixture(scope="module")
def pool():
    """One process of joblib's engine, as in a notebook."""
    pool = loky.ProcessPoolExecutor(1)
    pool.submit(int).result(20)
    yield pool
    pool.shutdown()


@pytest.fixture
def away(session, pool):
    """A session whose tasks run on an executor; its submitting threads end, too."""
    session.names["pool"] = pool
    yield session
    ipycron.shutdown()


def test_cell_is_elected_by_a_coordinator_of_the_notebook(session):
    """The variable is the coordinator; the lease is a duration option."""
    voters = session.names["no"], session.names["yes"] = Voter(False), Voter(True)
    for name in ("no", "yes"):
        session.run(
            f"%%cron * * * * * * --name {name} --distributed --coordinator {name} "
            "--distributed-lease 2m\n42"
        )
    session.run("%cron wait yes --runs 1 --for 20s")
    assert get_task("yes").last_run.result == 42
    eventually(lambda: get_task("no").history.skipped, "a slot is left to others")
    assert get_task("no").last_run is None
    assert [re.sub(":.*", "", voter.asked[0][0]) for voter in voters] == ["no", "yes"]
    assert voters[0].asked[0][1] == 120


def test_cell_runs_on_an_executor_of_the_notebook(away):
    """With captured variables; output and result are returned."""
    away.run("import os\nhere = os.getpid()\ndef double(x):\n    return 2 * x")
    away.run(
        "%%cron @yearly --name away --on pool\n"
        "import os\n"
        "print(os.getpid() == here)\n"
        "double(21)"
    )
    away.run("%cron run away --wait")
    run = get_task("away").last_run
    assert (run.result, run.output.stdout) == (42, "False\n")
    assert describe_task(get_task("away"), 0)["place"] == "executor"


def test_file_runs_on_an_executor_of_the_notebook(away, tmp_path):
    """The same option for a file."""
    path = tmp_path / "job.py"
    path.write_text("def task():\n    return 'from a file'\n")
    away.run(f"%cron @yearly {path} --name away --on pool")
    away.run("%cron run away --wait")
    assert get_task("away").last_run.result == "from a file"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--on poool", "--on: got 'poool', expected the name of a variable of the *"),
        (
            "--on number",
            (
                "--on: got 'number', expected a concurrent.futures.Executor or a "
                "distributed.Client"
            ),
        ),
        ("--on", "--on: got nothing, expected the name of a variable of the notebook"),
        (
            "--coordinator number --distributed --name a",
            "--coordinator: got 'number', expected an object with the methods *",
        ),
        (
            "--coordinator voter --name a",
            "--run-coordinator: got <*> expected None without distributed=True.",
        ),
        (
            "--on pool --launcher spawn",
            (
                "launcher: got 'spawn', expected None with an executor, which "
                "starts its own processes."
            ),
        ),
        (
            "--on pool --inline",
            "--inline runs in the notebook itself, --on does elsewhere",
        ),
    ],
)
def test_cell_is_refused_when_its_variable_is_of_no_use(session, pool, line, message):
    """One line, as for every other option."""
    session.names.update(pool=pool, number=3, voter=Voter(answer=True))
    said = session.run(f"%%cron @yearly {line}\n1").removeprefix("UsageError: ")
    pattern = re.escape(message).replace(r"\*", ".*").replace(r"<.*>\ ", "<.*>, ")
    assert re.fullmatch(pattern, said.strip()), said
