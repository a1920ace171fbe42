"""Library settings: a cell finds them as they are in its notebook."""

import sys
import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from ipycron import get_task
from ipycron.notebook.capture.capture import capture_names
from ipycron.process.shell.settings import apply_settings


@pytest.fixture(autouse=True)
def restored():
    """Restore the libraries of this process afterwards."""
    prints, errors = np.get_printoptions(), np.geterr()
    with warnings.catch_warnings(), mpl.rc_context():
        yield
    pd.reset_option("^display")
    np.set_printoptions(**prints)
    np.seterr(**errors)


@pytest.mark.parametrize(
    ("notebook", "cell", "expected"),
    [
        (
            "import matplotlib.pyplot as plt\nplt.rcParams['lines.linewidth'] = 7.5",
            "plt.rcParams['lines.linewidth']",
            7.5,
        ),
        (
            "import matplotlib.pyplot as plt\nplt.style.use('ggplot')",
            "import matplotlib as mpl\nmpl.rcParams['axes.grid']",
            True,
        ),
        (
            "import pandas as pd\npd.set_option('display.max_rows', 7)",
            "import pandas\npandas.options.display.max_rows",
            7,
        ),
        (
            (
                "import pandas as pd\nmark = '%.1f!'\n"
                "pd.options.display.float_format = lambda x: mark % x\n"
                "df = pd.DataFrame({'a': [1.25]})"
            ),
            "repr(df).split()[-1]",
            "1.2!",
        ),
        (
            (
                "import pandas as pd\nmark = '%.1f!'\n"
                "pd.options.display.float_format = lambda x: mark % x"
            ),
            "import pandas\nrepr(pandas.DataFrame({'a': [1.25]})).split()[-1]",
            "1.2!",
        ),
        (
            (
                "import numpy as np\n_ = np.set_printoptions(precision=2)\n"
                "_ = np.seterr(divide='raise')"
            ),
            "str(np.array([1.23456])), np.geterr()['divide']",
            ("[1.23]", "raise"),
        ),
        (
            "import decimal\ndecimal.getcontext().prec = 5",
            "from decimal import Decimal\nstr(Decimal(1) / 3)",
            "0.33333",
        ),
        (
            "import warnings\nwarnings.filterwarnings('ignore', 'of no interest')",
            "import warnings\nwarnings.warn('Of no interest')\n1",
            1,
        ),
        (
            (
                "import warnings\nclass Mine(UserWarning): pass\n"
                "warnings.filterwarnings('ignore', category=Mine)"
            ),
            "import warnings\nwarnings.warn('x', Mine)\n1",
            1,
        ),
    ],
)
def test_settings_are_those_of_the_notebook(use, notebook, cell, expected):
    """Whether the notebook or the cell imports the library."""
    try:
        assert use(notebook, cell) == expected
    finally:
        import decimal  # noqa: PLC0415 - as the notebook did

        decimal.setcontext(decimal.Context())


def test_settings_import_nothing(use):
    """A cell that does not use a library gets none of its settings."""
    notebook = (
        "import matplotlib as mpl, numpy as np, pandas as pd, warnings\n"
        "mpl.rcParams['lines.linewidth'] = 7.5\n"
        "np.set_printoptions(precision=2)\npd.set_option('display.max_rows', 7)\n"
        "warnings.simplefilter('ignore', pd.errors.PerformanceWarning)"
    )
    cell = "import sys\nsorted({'matplotlib', 'numpy', 'pandas'} & set(sys.modules))"
    assert use(notebook, cell) == []


def test_filter_of_a_category_waits_for_its_library(use):
    """`pd.errors.PerformanceWarning` exists once the cell imports pandas."""
    notebook = (
        "import pandas as pd, warnings\n"
        "warnings.simplefilter('ignore', pd.errors.PerformanceWarning)"
    )
    cell = (
        "import pandas, warnings\nwarnings.warn('', pandas.errors.PerformanceWarning)\n"
        "warnings.filters[0][2].__name__"
    )
    assert use(notebook, cell) == "PerformanceWarning"


def test_settings_that_were_not_changed_are_not_sent(shell):
    """A worker has the defaults anyway."""
    shell.run_cell("import numpy, pandas, matplotlib, decimal")
    pickled = capture_names("1", shell).buffers[0]
    for library in ("numpy", "pandas", "matplotlib", "decimal"):
        assert library.encode() not in bytes(pickled)


def test_setting_that_cannot_be_sent_is_reported(shell):
    """Other settings are sent."""
    shell.run_cell(
        "import pandas as pd, threading\nlock = threading.Lock()\n"
        "pd.options.display.float_format = lambda x, lock=lock: str(x)\n"
        "pd.options.display.max_rows = 7"
    )
    captured = capture_names("1", shell)
    (warning,) = captured.warnings
    assert warning == (
        "the setting pandas: display.float_format cannot be sent, the cell has the "
        "default"
    )
    assert b"display.max_rows" in bytes(captured.buffers[0])


def test_setting_that_this_version_does_not_know_is_left_out(monkeypatch):
    """Importing the library does not fail because of it."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    apply_settings("matplotlib", lambda: {"no.such": 1, "lines.linewidth": 3.5})
    assert mpl.rcParams["lines.linewidth"] == 3.5


DRAWS = (
    "%%cron @yearly --name draws --quiet\nimport matplotlib.pyplot as plt\n"
    "plt.plot([1, 2])"
)


def test_inline_backend_is_configured_as_in_the_notebook(execute):
    """`%config InlineBackend.figure_format` applies to the cell's figures."""
    cells = (
        "%load_ext ipycron",
        "%config InlineBackend.figure_format = 'svg'",
        DRAWS,
        "%cron run draws --wait",
        "import ipycron\nrun = ipycron.get_task('draws').last_run",
        "sorted(run.output.displays[-1].data)",
    )
    assert "image/svg+xml" in execute(list(cells)).text(5)


# --- attributes of modules ----------------------------------------------------------

APP = "import edited_conf as c\ndef get(): return c.rate"


@pytest.fixture
def edited(session, tmp_path, monkeypatch):
    """A session whose variable `conf` is a module from a file."""
    (tmp_path / "edited_conf.py").write_text("rate = 1\nname = 'a'")
    (tmp_path / "edited_app.py").write_text(APP)
    monkeypatch.syspath_prepend(tmp_path)
    session.shell.run_cell("import edited_conf as conf", store_history=True)
    yield session
    for name in ("edited_conf", "edited_app"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("notebook", "cell", "expected"),
    [
        ("conf.rate = 7", "conf.rate, conf.name", (7, "a")),
        ("if True:\n    conf.rate += 4", "conf.rate", 5),
        ("conf.rate = 7", "import edited_app\nedited_app.get()", 7),
        ("k = 3\nconf.name = lambda: k", "conf.name()", 3),
        ("conf.rate == 7", "conf.rate", 1),
    ],
)
def test_modules_are_as_the_notebook_has_edited_them(edited, notebook, cell, expected):
    """For modules that import them, too; other values are the file's."""
    edited.shell.run_cell(notebook, store_history=True)
    edited.run(f"%%cron @yearly --name job --quiet\n{cell}")
    assert get_task("job").execute().result(20) == expected
