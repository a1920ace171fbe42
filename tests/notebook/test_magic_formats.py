"""How tasks, tables and expressions are displayed: as text, and as safe HTML."""

import re
from html import unescape
from types import MappingProxyType

import pytest

from ipycron import CronExpression, get_task, get_tasks
from ipycron.notebook.display.ansi import strip_ansi, to_html
from ipycron.notebook.display.static import MAX_CHARACTERS, settle_lines, write_bundle

DEADLINE = 20.0
EVIL = "<script>alert(1)</script>"
DISPLAY = "from IPython.display import display\n"


def show(session, value):
    """Return the shell's mimebundle for a value."""
    return session.shell.display_formatter.format(value)[0]


@pytest.fixture
def run(session):
    """Run a cell as a task; return the task."""

    def run_cell(body, name="it"):
        session.run(f"%%cron @yearly --name '{name}' --quiet\n{body}")
        task = get_task(name)
        task.execute().exception(DEADLINE)
        return task

    return run_cell


def test_task_shows_its_state_and_its_last_run(session, run):
    """Plain text and HTML agree."""
    bundle = show(session, run("print('hello')\n[1, 2]"))
    text, html = bundle["text/plain"], bundle["text/html"]
    assert text.splitlines()[0].split() == ["it", "idle"]
    assert text.splitlines()[-2:] == ["  hello", "  [1, 2]"]
    for part in ("it", "idle", "At 00:00, on day 1", "hello", "[1, 2]"):
        assert part in html


def test_page_names_the_task_above_its_facts(session, run):
    """However long it is: the facts keep their room; blanks that separate stay."""
    name = "a long name " * 20
    html = show(session, run("1", name=name))["text/html"]
    title = re.search(r'<td colspan="2"[^>]*><b>([^<]*)</b>  idle</td>', html)
    assert title[1] == name.strip()
    assert re.search(r"white-space:pre-wrap\">@yearly  At 00:00", html)


def test_bar_is_not_repeated_for_each_line_beside_it(session, run):
    """As on the card: what has moved on is shown where it began, once."""
    lines = [
        "import sys, time",
        "for n in range(3):",
        "    print(f'\\r{n} of 2', end='', file=sys.stderr, flush=True)",
        "    time.sleep(0.1)",
        "    print('line', n, flush=True)",
        "    time.sleep(0.1)",
        "print(' done', file=sys.stderr)",
    ]
    text = show(session, run("\n".join(lines)))["text/plain"]
    shown = [line.strip() for line in text.splitlines() if line.startswith("  ")]
    assert sorted(shown) == ["2 of 2 done", "line 0", "line 1", "line 2"]


def test_page_shows_dates_for_readers_on_another_day(session, run):
    """A saved notebook shows dates, not how soon something would have been."""
    task = run("'fine'")
    bundle = show(session, task)
    html = bundle["text/html"]

    assert re.search(rf"next run</td><td[^>]*>{task.next_run:%Y-%m-%d %H:%M:%S}<", html)
    assert re.search(rf"last run</td><td[^>]*>{task.last_run.date:%Y-%m-%d} ", html)
    assert ", in " in bundle["text/plain"]


def test_task_shows_the_traceback_of_its_failure(session, run):
    """Its colours become spans."""
    bundle = show(session, run("1 / 0"))
    assert "ZeroDivisionError: division by zero" in bundle["text/plain"]
    assert "\x1b" not in bundle["text/plain"] + bundle["text/html"]
    assert '<span style="color:' in bundle["text/html"]


def test_traceback_folds_the_frames_of_a_cause_that_are_all_a_library_s(session, run):
    """As on the card: what the cell's own lines did is what is looked for."""
    task = run("import urllib.request as u\nu.urlopen('http://127.0.0.1:1')")
    html = show(session, task)["text/html"]
    cause = html.partition("ConnectionRefusedError")[2]
    assert re.search(r"<summary>\d+ frames in [\w, ]+</summary>", cause)
    assert not re.search(
        r"socket\.py", re.sub(r"<details>.*?</details>", "", html, flags=re.DOTALL)
    )


def test_failure_names_a_file_whose_name_is_not_text(session, run):
    """The name is escaped, since no message could contain it as it is."""
    bundle = show(session, run("open(b'/caf\\xe9')"))
    for form in ("text/plain", "text/html"):
        assert "caf" in bundle[form].encode().decode()
    task = run("raise OSError('caf\\udce9')", "other")
    bundle = show(session, task)
    for form in ("text/plain", "text/html"):
        assert "OSError" in bundle[form]
        assert r"caf\udce9" in bundle[form].encode().decode()


@pytest.mark.parametrize(
    "body",
    [
        f"print('{EVIL}')",
        f"import sys\nprint('{EVIL}', file=sys.stderr)",
        f"'{EVIL}'",
        f"raise ValueError('{EVIL}')",
        f"class Odd:\n    def __repr__(self):\n        return '{EVIL}'\nOdd()",
        f"{DISPLAY}display({{'text/plain': '{EVIL}'}}, raw=True)",
        f"{DISPLAY}display({{'image/png': 'x\" onerror=\"alert(1)'}}, raw=True)",
    ],
)
def test_task_escapes_what_its_job_says(session, run, body):
    """Text is only text, wherever it comes from."""
    html = show(session, run(body))["text/html"]
    assert EVIL not in html
    assert '"x" onerror' not in html
    assert 'base64,x"' not in html


def test_names_are_escaped_everywhere(session, run):
    """A task's name may be any text."""
    task = run("1", name=EVIL)
    for value in (task, get_tasks()):
        html = show(session, value)["text/html"]
        assert EVIL not in html
        assert "&lt;script&gt;" in html


def test_rich_displays_stay_rich(session, run):
    """HTML that the job displays on purpose is kept."""
    task = run("from IPython.display import HTML\nHTML('<b>bold</b>')")
    assert "<b>bold</b>" in show(session, task)["text/html"]


def test_figures_are_part_of_the_page(session, run):
    """An image needs no separate file."""
    pytest.importorskip("matplotlib")
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
    task = run(code, name='a "plot"')
    html = show(session, task)["text/html"]
    (alt,) = re.findall(
        r'<img alt="([^"]*)" src="data:image/png;base64,[\w+/=]+">', html
    )
    at = f"{task.last_run.date:%Y-%m-%d %H:%M:%S}"
    assert unescape(alt) == f'Figure of a "plot", run at {at}'


def test_long_output_is_cut_at_its_beginning(session, run):
    """A saved notebook keeps the end."""
    html = show(session, run("print('x' * 100_000 + 'the end')"))["text/html"]
    assert MAX_CHARACTERS < len(html) < MAX_CHARACTERS + 2000
    assert "the end" in html


def test_tasks_are_a_table(session, run):
    """`get_tasks()` as the last line of a cell."""
    run("1", name="a")
    run("2", name="b")
    bundle = show(session, get_tasks())
    assert [line.split()[0] for line in bundle["text/plain"].splitlines()] == [
        "name",
        "a",
        "b",
    ]
    assert bundle["text/html"].startswith(
        '<table class="mathjax_ignore tex2jax_ignore"><thead>'
    )
    # How soon is one word; in plain text it is not.
    assert re.search(r", in(\xa0\d+\xa0(d|h|min|s)){1,2}<", bundle["text/html"])
    assert "\xa0" not in bundle["text/plain"]


@pytest.mark.parametrize("value", [{}, {"a": 1}])
def test_other_mappings_look_as_ever(session, value):
    """Our format must not apply to Python's own type."""
    bundle = show(session, MappingProxyType(value))
    assert bundle == {"text/plain": f"mappingproxy({value})"}


def test_tasks_in_a_list_are_one_line_each(session, run):
    """Only a value itself is shown in full."""
    task = run("1")
    assert show(session, [task])["text/plain"] == f"[{task!r}]"


def test_expression_shows_its_words_and_its_fires(session):
    """Its meaning, its zone and its next fires."""
    bundle = show(session, CronExpression("0 0 1 1 *", "Europe/Rome"))
    lines = bundle["text/plain"].splitlines()
    assert lines[:3] == [
        "expression  0 0 1 1 *",
        "means       At 00:00, on day 1 of the month, only in January",
        "zone        Europe/Rome",
    ]
    assert lines[3].count("-01-01 00:00") == 5
    assert "only in January" in bundle["text/html"]


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("plain <b>", "plain &lt;b&gt;"),
        ("\x1b[1mx\x1b[0m", '<span style="font-weight:bold">x</span>'),
        ("\x1b[31mx\x1b[39my", '<span style="color:#e75c58">x</span>y'),
        ("\x1b[91mx", '<span style="color:#b22b31">x</span>'),
        ("\x1b[37mx", "x"),
        ("\x1b[38;5;196mx", '<span style="color:#ff0000">x</span>'),
        ("\x1b[38;5;244mx", '<span style="color:#808080">x</span>'),
        ("\x1b[38;2;1;2;3mx", '<span style="color:#010203">x</span>'),
        ("\x1b[48;5;1mx", "x"),
        ("\x1b[2K\x1b[1Ax", "x"),
        ("\x1b[38;5mx", "x"),
        ("\x1b[mx", "x"),
    ],
)
def test_colours_become_spans(text, html):
    """Sequences of tracebacks and command-line tools; others are removed."""
    assert to_html(text) == html
    assert strip_ansi(text).strip("plain <b>") in ("x", "xy", "")


@pytest.mark.parametrize(
    ("text", "settled"),
    [
        ("a\nb\n", "a\nb\n"),
        ("1%\r2%\r3%\n", "3%\n"),
        ("done\r\n", "done\n"),
        ("1%\r", "1%\r"),
        ("a\rb\nc\rd", "b\nd"),
    ],
)
def test_progress_is_what_a_terminal_would_show(text, settled):
    """A line with carriage returns shows its last state."""
    assert settle_lines(text) == settled


@pytest.mark.parametrize(
    ("data", "part"),
    [
        ({"text/html": ["<i>", "x</i>"], "text/plain": "x"}, "<div><i>x</i></div>"),
        ({"image/svg+xml": "<svg/>", "text/plain": "x"}, "<div><svg/></div>"),
        ({"text/latex": "$<x>$", "text/plain": "x"}, "$&lt;x&gt;$"),
        ({"application/json": {}}, ""),
    ],
)
def test_displays_take_their_richest_form(data, part):
    """As far as a page can show it without further files."""
    assert part in write_bundle(data)
