"""Scripts on an executor: like `python FILE`, as far as a shared process allows."""

import concurrent.futures
import logging
import multiprocessing
import os
import textwrap

import pytest
from executors import pause
from polling import SECONDS, eventually

from ipycron.client.jobs import Cell
from ipycron.errors import RemoteError
from ipycron.process.wire.payload import pack_object

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module")
def pool():
    """One process, so that each run follows the previous one."""
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        pool.submit(pause, 0).result()
        yield pool


@pytest.fixture
def run(pool, start, tmp_path):
    """Run a script's text, or a cell, in the pool; return its task."""

    def run_source(source, *, is_cell=False, times=1):
        source = textwrap.dedent(source)
        job = tmp_path / "script_elsewhere.py"
        job.write_text(source)
        if is_cell:
            job = Cell(source=source, filename="<cell>", payload=pack_object({}))
        task = start(job, pool)
        for _ in range(times):
            task.execute().exception(SECONDS)
        return task

    return run_source


@pytest.mark.parametrize("is_cell", [False, True])
def test_exit_codes_are_those_of_a_program(run, is_cell):
    """0 and None mean success; others are failures with the code."""
    for line in ("sys.exit(0)", "sys.exit()"):
        task = run(f"import sys\nprint('here')\n{line}", is_cell=is_cell)
        assert task.last_run.is_ok
        assert task.last_run.output.stdout == "here\n"
    error = run("import sys\nsys.exit(3)", is_cell=is_cell).last_run.error
    assert isinstance(error, RemoteError)
    assert (error.type_name, error.message) == ("SystemExit", "3")


SURROUNDINGS = """
    import json, locale, logging, os, signal, sys, tempfile
    mask = os.umask(0)
    os.umask(mask)
    print(json.dumps([
        os.getcwd(), os.environ.get("LEFT"), sys.path, sys.argv, mask,
        str(signal.getsignal(15)), locale.setlocale(locale.LC_ALL, None),
        logging.root.level, len(logging.root.handlers),
    ]))
    os.chdir(tempfile.gettempdir())
    os.environ["LEFT"] = "1"
    sys.path.insert(0, "/nowhere")
    sys.argv.append("more")
    os.umask(0o077)
    signal.signal(signal.SIGTERM, lambda *_: None)
    locale.setlocale(locale.LC_ALL, "C.UTF-8")
    logging.basicConfig(level=logging.DEBUG)
"""


@pytest.mark.parametrize("is_cell", [False, True])
def test_each_run_finds_what_the_first_did(run, is_cell):
    """In one and the same process."""
    task = run(SURROUNDINGS + "    None", is_cell=is_cell, times=1)
    first = task.last_run.output.stdout
    assert task.last_run.is_ok
    task.execute().result(SECONDS)
    assert task.last_run.output.stdout == first


@pytest.mark.parametrize("is_cell", [False, True])
def test_logging_that_a_job_configures_is_its_output_and_forwarded(
    run, caplog, is_cell
):
    """In its own format, and once to the client's handlers, in each run."""
    caplog.set_level(logging.INFO)
    task = run(
        """
        import logging
        logging.basicConfig(level=logging.INFO, format="%(levelname)s|%(message)s")
        logging.info("hello")
        """,
        is_cell=is_cell,
        times=2,
    )
    assert task.last_run.output.stderr == "INFO|hello\n"
    eventually(lambda: [r.getMessage() for r in caplog.records] == ["hello"] * 2)


def test_end_of_a_program_is_the_end_of_the_run(run, tmp_path):
    """Threads, exit functions, finalizers, files, temporary folders."""
    task = run(
        f"""
        import atexit, tempfile, threading, time, weakref
        out = open({str(tmp_path / "out")!r}, "w")
        def work():
            time.sleep(0.2)
            out.write("thread ")
        threading.Thread(target=work).start()
        atexit.register(out.write, "exit ")
        folder = tempfile.TemporaryDirectory()
        class C: pass
        c = C()
        def use(): return c
        weakref.finalize(c, print, "finalized")
        print(folder.name)
        """
    )
    assert task.last_run.is_ok
    folder = task.last_run.output.stdout.split()[0]
    assert (tmp_path / "out").read_text() == "thread exit "
    assert not os.access(folder, os.F_OK)
    assert "finalized" in task.last_run.output.stdout


def test_edited_helper_is_reloaded(run, tmp_path):
    """Like the script itself."""
    helper = tmp_path / "helper_elsewhere.py"
    helper.write_text("VALUE = 1")
    task = run("import helper_elsewhere\nprint(helper_elsewhere.VALUE)")
    assert task.last_run.output.stdout == "1\n"
    helper.write_text("VALUE = 22")
    task.execute().result(SECONDS)
    assert task.last_run.output.stdout == "22\n"
