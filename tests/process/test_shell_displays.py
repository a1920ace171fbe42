"""What a cell displays: mimebundles, widgets, figures."""

import base64
import pickle

import pytest


def get_result(report):
    """Return the result of the last run, which must have succeeded."""
    outcome = report["outcomes"][-1]
    assert outcome["is_ok"], outcome["text"]
    return pickle.loads(outcome["result"])


# --- displays ---------------------------------------------------------------------


def test_result_is_displayed_with_its_mimebundle(run_in_fork):
    """The trailing value is published as a result."""
    (shown,) = run_in_fork("[1, 2]")["displays"]
    assert shown["kind"] == "result"
    assert shown["data"] == {"text/plain": "[1, 2]"}


def test_displays_arrive_in_order_of_their_calls(run_in_fork):
    """`display`, updates and clearing are told apart and keep their ids."""
    report = run_in_fork(
        "from IPython.display import HTML, clear_output\n"
        "h = display(HTML('<b>1</b>'), display_id='one')\n"
        "h.update(HTML('<b>2</b>'))\n"
        "display({'text/plain': 'raw'}, raw=True)\n"
        "clear_output(wait=True)\n"
    )
    kinds = [(d["kind"], d["display_id"], d["is_waiting"]) for d in report["displays"]]
    assert kinds == [
        ("display", "one", False),
        ("update", "one", False),
        ("display", None, False),
        ("clear", None, True),
    ]
    assert report["displays"][1]["data"]["text/html"] == "<b>2</b>"


def test_display_holds_built_in_values_only(run_in_fork):
    """Bytes become base64; values unknown to JSON become text."""
    report = run_in_fork(
        "import datetime, decimal\n"
        "display({'image/png': b'\\x89PNG', 'text/plain': 'p', 'application/json': "
        "{'when': datetime.date(2026, 1, 2), 'n': (1, 2)}}, raw=True, "
        "metadata={'image/png': {'width': decimal.Decimal(3)}})"
    )
    (shown,) = report["displays"]
    assert base64.b64decode(shown["data"]["image/png"]) == b"\x89PNG"
    assert shown["data"]["application/json"] == {"when": "2026-01-02", "n": [1, 2]}
    assert shown["metadata"] == {"image/png": {"width": "3"}}


def test_data_frame_is_shown_as_a_table(run_in_fork):
    """A data frame has text and HTML."""
    (shown,) = run_in_fork("import pandas as pd\npd.DataFrame({'a': [1]})")["displays"]
    assert set(shown["data"]) == {"text/plain", "text/html"}


def test_widget_shows_its_text(run_in_fork):
    """A worker's widget has no model in the page: its view is left out."""
    report = run_in_fork(
        "import ipywidgets, ipykernel.ipkernel\n"
        "slider = ipywidgets.IntSlider(value=3)\nslider.value = 4\n"
        "display(slider)\nslider"
    )
    shown, result = report["displays"]
    assert list(shown["data"]) == list(result["data"]) == ["text/plain"]
    assert "IntSlider" in shown["data"]["text/plain"]


def test_display_of_a_forked_child_is_printed(run_in_fork):
    """A child forked by the cell has only stdout, not the connection."""
    report = run_in_fork(
        "import os\n"
        "if (pid := os.fork()) == 0:\n"
        "    display('from the child')\n"
        "    get_ipython().display_pub.clear_output()\n"
        "    os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
        "display('from the cell')"
    )
    assert [d["data"]["text/plain"] for d in report["displays"]] == ["'from the cell'"]
    assert report["stdout"] == "'from the child'\n"


def test_help_is_displayed(run_in_fork):
    """``name?`` shows its page instead of opening a pager."""
    (shown,) = run_in_fork("len?")["displays"]
    assert "number of items" in shown["data"]["text/plain"]


# --- figures ----------------------------------------------------------------------


def test_figures_appear_without_asking(run_in_fork):
    """Figures still open at a run's end are published as PNG and closed."""
    report = run_in_fork(
        "import matplotlib.pyplot as plt\n"
        "print(plt.get_fignums())\n"
        "plt.plot([1, 2])\nplt.figure()\nplt.plot([2, 1]);",
        contexts=[None, None],
    )
    get_result(report)
    figures = [d for d in report["displays"] if d["kind"] == "display"]
    assert len(figures) == 4
    assert all(
        base64.b64decode(d["data"]["image/png"]).startswith(b"\x89PNG") for d in figures
    )
    assert report["stdout"] == "[]\n[]\n"


@pytest.mark.parametrize(
    "source",
    [
        "import pandas as pd\npd.Series([1, 2]).plot();",
        "def draw():\n    import matplotlib.pyplot as plt\n    plt.plot([1])\ndraw()",
        "import matplotlib.pyplot as plt\nplt.plot([1])\nplt.show()",
        "%matplotlib qt\nimport matplotlib.pyplot as plt\nplt.plot([1]);",
        "import matplotlib.pyplot as plt\nplt.plot([1])\n1 / 0",
    ],
)
def test_figure_appears_however_it_is_drawn(run_in_fork, source):
    """Functions of the cell may draw, too; a failure shows what was drawn."""
    displays = run_in_fork(source)["displays"]
    assert [list(d["data"]) for d in displays].count(["text/plain", "image/png"]) == 1


@pytest.mark.parametrize(
    ("backend", "count"), [("module://matplotlib_inline.backend_inline", 1), ("agg", 0)]
)
def test_figures_appear_when_matplotlib_was_preloaded(run_in_fork, backend, count):
    """A preload in the zygote sets no backend; a user's backend is kept."""
    report = run_in_fork(
        "import matplotlib.pyplot as plt\nplt.plot([1]);",
        preload=["matplotlib.pyplot"],
        backend=backend,
    )
    assert len(report["displays"]) == count


def test_matplotlib_is_not_imported_for_other_cells(run_in_fork):
    """A cell that draws nothing does not import it."""
    report = run_in_fork("print(1)\n[2]")
    assert not [m for m in report["process"]["modules"] if m.startswith("matplotlib")]
