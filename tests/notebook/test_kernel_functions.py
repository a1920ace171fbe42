"""A notebook's functions as jobs and in cells: their source, in a real kernel."""

import pytest

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(90)]

DEFINITIONS = """\
import functools, inspect, ipycron
%load_ext ipycron

def divide(n):
    # a comment of the notebook
    return 1 / n

@functools.lru_cache
def cached(n): return divide(n)

class Gauge:
    def read(self): return cached(0)

def run(job):
    task = ipycron.create_task("@yearly", job, background=True)
    task.start().result(20)
    try:
        return task.execute().result(20)
    except Exception:
        return task.last_run.traceback_text
    finally:
        task.destroy()
"""


@pytest.fixture
def texts(execute):
    """The output text of each cell after the definitions."""

    def run(*cells):
        executed = execute([DEFINITIONS, *cells])
        return [executed.text(index + 1) for index in range(len(cells))]

    return run


def test_function_jobs_show_their_source_and_their_cell(texts):
    """In tracebacks and for `inspect`, as in the notebook."""
    failed, source, cached, method = texts(
        "print(run(lambda: divide(0)))",
        "print(run(lambda: inspect.getsource(divide)))",
        "print(run(lambda: cached(4)))",
        "print(run(Gauge().read))",
    )
    assert "Cell In[1], line 6, in divide\n    return 1 / n\n" in failed
    assert "Cell In[2], line 1, in <lambda>" in failed
    assert "# a comment of the notebook" in source
    assert cached.strip() == "0.25"
    assert "Cell In[1], line 12, in read" in method
    assert "Cell In[1], line 6, in divide" in method


def test_source_of_a_function_can_be_read_in_a_cell(texts):
    """By `inspect`, even for a cached function."""
    _, shown = texts(
        "%%cron @yearly --name reads --quiet\nprint(inspect.getsource(cached))",
        "%cron run reads --wait",
    )
    assert "def cached(n): return divide(n)" in shown


def test_cell_shows_where_in_the_notebook_it_failed(texts):
    """Cell, line and surrounding lines, frame by frame."""
    _, shown = texts(
        "%%cron @yearly --name uses --quiet\nGauge().read()", "%cron run uses --wait"
    )
    for part in (
        "Cell uses, line 2",
        "Cell In[1], line 12, in Gauge.read",
        "Cell In[1], line 9, in cached(n)",
        "Cell In[1], line 6, in divide(n)",
        "# a comment of the notebook",
    ):
        assert part in shown
