"""The card of a scheduled cell, in a real JupyterLab and a real Notebook 7."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from front_ends import LAB_FIRST
from playwright.sync_api import expect

STEPS = """%%cron 0 0 1 1 * --name steps --run-now
import os, sys, time
for step in range(6):
    while step == 4 and not os.path.exists(go_on):
        time.sleep(0.01)
    print("step", step)
    print(f"\\r{step * 20:3}% done", end="", file=sys.stderr)
    time.sleep(0.4)
"""
RICH = """%%cron 0 0 1 1 * --name rich --run-now
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Latex, HTML
print("before the table")
display(pd.DataFrame({"mean": [1.5, 2.5]}))
print("before the figure")
plt.plot([1, 2, 3]); plt.show()
display(Latex(r"$\\frac{1}{2}$"))
print("\\x1b[32mthe end\\x1b[0m")
"""
FAILING = """%%cron 0 0 1 1 * --name failing --run-now
def look(key):
    return {"a": 1}[key]
print("about to fail")
look("b")
"""
TICKING = """%%cron * * * * * * --name ticking
print("tick")
"""
HOSTILE_NAME = "<script>window.hacked = 1</script>"
HOSTILE = f"""
import ipycron
def say():
    print("<img src=x onerror='window.hacked = 2'>", "\\u202eright to left")
    raise ValueError("<script>window.hacked = 3</script>")
task = ipycron.schedule("0 0 1 1 *", say, background=True, name={HOSTILE_NAME!r})
task.execute()
task
"""
LONG = """
import ipycron
def say():
    print("long " * 2000)
    raise ValueError("e" * 10_000)
task = ipycron.schedule("0 0 1 1 *", say, background=True, name="n" * 10_000)
task.execute()
task
"""


def get_card(notebook, name):
    """Return the card of a task."""
    return notebook.page.locator(".icr-card").filter(
        has=notebook.page.locator(".icr-name", has_text=name)
    )


def test_card_shows_a_run_while_it_happens(notebook, tmp_path):
    """Text grows line by line, a bar updates in place, the clock ticks."""
    notebook.run(f"go_on = {str(tmp_path / 'go-on')!r}")
    notebook.run(STEPS)
    card = get_card(notebook, "steps")
    output = card.locator(".icr-output")

    expect(card.locator(".icr-status")).to_have_text("running")
    expect(output).to_contain_text("step 1")
    assert "step 5" not in output.inner_text()
    expect(card.locator(".icr-how")).to_contain_text(re.compile(r"running 00:\d\d"))
    (tmp_path / "go-on").touch()
    expect(output).to_contain_text("step 5")
    # Six waits of 0.4 s, and what page and machine add.
    expect(card.locator(".icr-how")).to_contain_text(
        re.compile(r"finished in (2\.[4-9]|[3-9]\.|\d\d)[\d.]* s")
    )
    assert output.inner_text().count("% done") == 1
    expect(output).to_contain_text("100% done")
    expect(card.locator(".icr-status")).to_have_text("idle")
    assert notebook.outside_requests == []


def test_card_shows_displays_as_the_notebook_does(notebook):
    """A table, a figure and a formula appear between the lines around them."""
    notebook.run(RICH)
    card = get_card(notebook, "rich")
    output = card.locator(".icr-output")

    expect(output).to_contain_text("the end")
    expect(output.locator("table.dataframe")).to_be_visible()
    figure = output.locator("img[src^='data:image/png']")
    expect(figure).to_be_visible()
    expect(figure).to_have_attribute(
        "alt", re.compile(r"^Figure of rich, run at (\S+ \S+ )?\d\d:\d\d:\d\d$")
    )
    expect(output.locator("mjx-container")).to_be_visible()
    green = output.get_by_text("the end")
    assert "icr-ansi2" in green.get_attribute("style")
    places = ["text=before the table", "table.dataframe", "text=before the figure"]
    places += ["img", "mjx-container", "text=the end"]
    handles = [output.locator(place).first.element_handle() for place in places]
    order = "nodes => nodes.map(node => node.getBoundingClientRect().top)"
    tops = notebook.page.evaluate(order, handles)
    assert tops == sorted(tops)


@LAB_FIRST
def test_card_turns_red_when_a_run_fails(notebook):
    """The traceback is below the output, with the cell's own lines."""
    notebook.run(FAILING)
    card = get_card(notebook, "failing")
    trace = card.locator(".icr-trace:visible")

    expect(trace).to_contain_text("KeyError: 'b'")
    expect(trace).to_contain_text('return {"a": 1}[key]')
    expect(card.locator(".icr-output")).to_have_text("about to fail")
    expect(card.locator(".icr-counts")).to_have_text("1 failed")
    red = "getComputedStyle(node).color"
    colour = card.locator(".icr-runhead").evaluate(f"node => {red}")
    assert colour == "rgb(198, 35, 48)"


@LAB_FIRST
def test_card_counts_down_and_shows_each_run(notebook):
    """A task that runs every second is followed; its history is a click away."""
    notebook.run(TICKING)
    card = get_card(notebook, "ticking")

    expect(card.locator(".icr-countdown")).to_have_text(
        re.compile(r"next in ?00:0[01]")
    )
    expect(card.locator(".icr-counts")).to_have_text(re.compile("([3-9]|\\d\\d) ok"))
    card.get_by_role("button", name="History").click()
    runs = card.locator(".icr-run")
    expect(runs.nth(2)).to_be_visible()
    oldest = runs.last.locator(".icr-number").first.inner_text()
    runs.last.click()
    expect(card.locator(".icr-runhead .icr-number").first).to_have_text(oldest)
    expect(runs.last).to_have_attribute("aria-selected", "true")


def test_card_stops_starts_and_runs_by_click_and_by_key(notebook):
    """Buttons work by mouse and keyboard, without the notebook's shortcuts."""
    notebook.run(TICKING)
    card = get_card(notebook, "ticking")
    status = card.locator(".icr-status")
    cells = notebook.count_cells()

    card.get_by_role("button", name="Stop").click()
    expect(status).to_have_text("stopped")
    expect(card.locator(".icr-countdown")).to_have_text("not scheduled")
    expect(card.locator(".icr-countdown .icr-number")).to_be_hidden()
    start = card.get_by_role("button", name="Start")
    start.focus()
    notebook.page.keyboard.press("Enter")
    expect(status).to_have_text(re.compile("idle|running"))
    notebook.page.keyboard.press("a")  # a shortcut of the notebook: cell above
    notebook.page.keyboard.press(" ")
    expect(status).to_have_text("stopped")
    assert notebook.count_cells() == cells
    destroy = card.get_by_role("button", name="Destroy")
    destroy.click()
    expect(status).to_have_text("stopped")
    destroy.click()
    expect(status).to_have_text("destroyed")


@LAB_FIRST
def test_card_shows_hostile_text_as_text(notebook):
    """A name, output or error with markup is shown, never executed."""
    notebook.run(HOSTILE)
    card = get_card(notebook, "<script>")

    expect(card.locator(".icr-name")).to_have_text(HOSTILE_NAME)
    expect(card.locator(".icr-output")).to_contain_text("<img src=x")
    expect(card.locator(".icr-trace:visible")).to_contain_text("<script>window.hacked")
    assert notebook.page.evaluate("() => window.hacked") is None
    assert card.locator("script").count() == 0


@LAB_FIRST
def test_card_keeps_its_shape_when_texts_are_long(notebook):
    """Ten thousand characters do not push anything out of the card."""
    notebook.run(LONG)
    card = get_card(notebook, "nnn")

    expect(card.locator(".icr-trace:visible")).to_contain_text("eee")
    widths = card.evaluate("node => [node.scrollWidth, node.clientWidth]")
    assert widths[0] <= widths[1]
    # The log of the failure may stand above it: all of the name's letters.
    card.locator(".icr-name").scroll_into_view_if_needed()
    expect(card.get_by_role("button", name="Stop")).to_be_in_viewport()


def test_card_is_restored_when_the_page_is_reloaded(notebook):
    """Output, history and clock continue where they were."""
    notebook.run(FAILING)
    card = get_card(notebook, "failing")
    expect(card.locator(".icr-trace:visible")).to_contain_text("KeyError")
    card.get_by_role("button", name="History").click()
    expect(card.locator(".icr-run")).to_be_visible()
    notebook.reload()

    expect(card.locator(".icr-trace:visible")).to_contain_text("KeyError")
    expect(card.locator(".icr-output")).to_have_text("about to fail")
    expect(card.locator(".icr-run")).to_be_visible()
    card.get_by_role("button", name="Run now").click()
    expect(card.locator(".icr-counts")).to_have_text("2 failed")


def test_card_says_that_the_kernel_was_restarted(own_notebook):
    """Old state is shown: nothing counts down, no button works."""
    notebook = own_notebook
    notebook.run(TICKING)
    card = get_card(notebook, "ticking")
    expect(card.locator(".icr-counts")).to_have_text(re.compile("ok"))
    notebook.restart()

    expect(card.locator(".icr-notices")).to_contain_text("The kernel was restarted")
    expect(card.locator(".icr-countdown")).to_be_hidden()
    stop = card.get_by_role("button", name="Stop")
    expect(stop).to_have_attribute("aria-disabled", "true")


def test_card_leaves_a_readable_copy_in_the_saved_notebook(own_notebook):
    """Opened without a kernel, the notebook shows text, output and everything."""
    notebook = own_notebook
    notebook.run(FAILING)
    expect(get_card(notebook, "failing").locator(".icr-trace:visible")).to_be_visible()
    copy = notebook.page.locator(".ipycron-static")
    expect(copy).to_be_hidden()
    notebook.wait_for_text(copy, "KeyError")
    notebook.save()
    notebook.shut_down_kernel()
    expect(get_card(notebook, "failing").locator(".icr-notices")).to_contain_text(
        "The kernel is gone"
    )
    notebook.open_again()

    expect(copy).to_contain_text("about to fail")
    expect(copy).to_contain_text("KeyError: 'b'")
    expect(copy).to_be_visible()
    expect(notebook.page.get_by_text("model not found")).to_be_hidden()


@pytest.mark.parametrize("source", ["ipycron.get_task('failing')", "ipycron.panel()"])
def test_view_as_a_last_line_leaves_a_readable_copy(own_notebook, source):
    """A task or panel shown as a cell's value is readable afterwards, too."""
    notebook = own_notebook
    notebook.run(FAILING.replace("--run-now", "--quiet"))
    notebook.run(source)
    expect(notebook.page.locator(".icr-name").first).to_be_visible()
    copy = notebook.page.locator(".ipycron-static")
    expect(copy).to_be_hidden()
    notebook.save()
    notebook.shut_down_kernel()
    notebook.open_again()

    expect(copy).to_contain_text("failing")
    expect(copy).to_be_visible()
    expect(notebook.page.get_by_text("model not found")).to_be_hidden()


def test_views_that_were_saved_with_their_widgets_give_way_to_the_copies(own_notebook):
    """A saved view is outdated and has no kernel, so the copy is shown."""
    notebook = own_notebook
    notebook.run(FAILING.replace("--run-now", "--quiet"))
    notebook.run("display(ipycron.get_task('failing'), ipycron.panel())")
    views = notebook.page.locator(".icr")
    expect(views).to_have_count(2)
    notebook.command("@jupyter-widgets/jupyterlab-manager:saveWidgetState")
    notebook.save()
    notebook.shut_down_kernel()
    notebook.open_again()

    copies = notebook.page.locator(".ipycron-static")
    expect(copies).to_have_text([re.compile("failing"), re.compile("failing")])
    for copy in copies.all():
        expect(copy).to_be_visible()
    expect(views).to_have_count(2)
    for view in views.all():
        expect(view).to_be_hidden()
        expect(view).to_have_attribute("data-connection", "gone")


BUSY = """%%cron 0 0 1 1 * --name busy --run-now --stop-timeout 30
import time
time.sleep(60)
"""


@LAB_FIRST
def test_stop_says_that_it_waits_and_can_be_cut_short(notebook):
    """It counts down; "Stop now" ends the run, which is not a failure."""
    notebook.run(BUSY)
    card = get_card(notebook, "busy")
    status = card.locator(".icr-status")
    expect(status).to_have_text("running")
    card.get_by_role("button", name="Stop", exact=True).click()
    expect(status).to_have_text("stopping")
    expect(card.locator(".icr-countdown")).to_have_text(
        re.compile(r"ends its run in\s*00:\d\d")
    )
    card.get_by_role("button", name="Stop now").click()

    expect(status).to_have_text("stopped")
    expect(card.locator(".icr-how")).to_have_text(re.compile("stopped after"))
    expect(card.locator(".icr-counts")).to_have_text("1 stopped")
    expect(card.locator(".icr-trace:visible")).to_have_count(0)


@LAB_FIRST
def test_armed_task_whose_last_run_failed_is_failing(notebook):
    """Its pill has another colour, shape and word than "idle"."""
    notebook.run(FAILING)
    card = get_card(notebook, "failing")
    status = card.locator(".icr-status")
    expect(status).to_have_text("failing")
    expect(status).to_have_attribute("data-status", "failing")
    expect(status.locator(".icr-icon-failing")).to_be_visible()
    name = card.locator(".icr-name").bounding_box()
    assert name["x"] < status.bounding_box()["x"]


@LAB_FIRST
def test_task_is_paused_and_resumed_from_card_and_panel(notebook):
    """The pill says so in words, shape and colour; why and until when is its title.

    All buttons are visible in a narrow notebook, too, and axe finds nothing.
    """
    notebook.run(TICKING)
    notebook.run("ipycron.panel()")
    card = get_card(notebook, "ticking")
    row = notebook.page.locator(".icr-panel .icr-row")
    status, mark = card.locator(".icr-status"), row.locator(".icr-status")
    idle_colour = mark.evaluate("(el) => getComputedStyle(el).color")

    pause = card.get_by_role("button", name="Pause", exact=True)
    pause.focus()
    notebook.page.keyboard.press("Enter")
    expect(status).to_have_text("paused")
    expect(status).to_have_attribute("title", "paused")
    expect(status.locator(".icr-icon-paused")).to_be_visible()
    expect(card.locator(".icr-countdown")).to_have_text("no next run")
    expect(card.get_by_role("button", name="Resume", exact=True)).to_be_focused()
    expect(pause).to_be_hidden()
    expect(mark).to_have_text("paused")
    expect(mark).to_have_attribute("data-status", "paused")
    assert mark.evaluate("(el) => getComputedStyle(el).color") != idle_colour
    expect(notebook.page.locator(".icr-panel .icr-top")).to_contain_text("1 paused")

    notebook.run("ipycron.get_task('ticking').pause('2999-03-01 09:00', '<b>down')")
    expect(mark).to_have_attribute("title", re.compile(r"paused until .*2999.* \(<b>d"))
    faults = notebook.find_faults(".icr-card", ".icr-panel")
    assert faults == []
    lost = notebook.page.evaluate(
        """(widths) => widths.flatMap((width) => {
          const lost = [];
          for (const view of document.querySelectorAll(".icr")) {
            view.style.width = `${width}px`;
            const end = view.getBoundingClientRect().right - 2;
            for (const button of view.querySelectorAll(".icr-controls > button")) {
              const { right } = button.getBoundingClientRect();
              if (right > end) lost.push(`${button.title} at ${width}`);
            }
            for (const pill of view.querySelectorAll(".icr-row .icr-status")) {
              const cell = pill.closest("td").getBoundingClientRect();
              const { right } = pill.getBoundingClientRect();
              if (right > cell.right) lost.push(`pill at ${width}`);
            }
            view.style.width = "";
          }
          return lost;
        })""",
        [380, 480, 640, 700, 760, 1000],
    )
    assert lost == []

    row.get_by_role("button", name="Resume: ticking").click()
    expect(status).to_have_text(re.compile("idle|running"))
    expect(status).not_to_have_attribute("title", re.compile("paused"))
    expect(card.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    row.get_by_role("button", name="Pause: ticking").click()
    expect(mark).to_have_text("paused")
    card.get_by_role("button", name="Stop").click()
    expect(status).to_have_text("stopped")
    expect(status).to_have_attribute("title", "paused")


INLINE = """%%cron 0 0 1 1 * --inline --name inline --run-now
import asyncio, matplotlib.pyplot as plt
print("drawing")
fig, ax = plt.subplots()
await asyncio.sleep(0.3)
ax.plot([1, 2])
"the end"
"""


@LAB_FIRST
def test_inline_runs_show_their_output_in_their_card(notebook):
    """Prints, figures and result, complete and only there, from the first run."""
    notebook.run(INLINE)
    card = get_card(notebook, "inline")
    output = card.locator(".icr-output")
    expect(card.locator(".icr-counts")).to_have_text("1 ok")
    expect(output).to_contain_text("the end")
    expect(output.locator("img[src^='data:image/png']")).to_have_count(1)
    notebook.run("%cron run inline")
    expect(card.locator(".icr-counts")).to_have_text("2 ok")
    expect(output.locator("img[src^='data:image/png']")).to_have_count(1)
    at = card.locator(".icr-runhead .icr-number").first.inner_text()
    expect(output.get_by_role("img")).to_have_accessible_name(
        f"Figure of inline, run at {at}"
    )
    expect(output).to_have_text(re.compile("^drawing\\s*'the end'\\s*$"))
    said = notebook.page.locator("[data-mime-type$=stdout]")
    expect(said).to_have_text("inline: runs now\n")


DECLARED = """%%cron 0 0 1 1 * --name first
1
"""


def test_tasks_that_no_cell_declares_have_a_button_that_ends_them(notebook):
    """After a changed name, a syntax error, or the deletion of the cell."""
    notebook.run(DECLARED)
    expect(get_card(notebook, "first")).to_be_visible()
    left = notebook.page.locator(".icr-leftover")
    notebook.run_again(DECLARED.replace("first", "second"))
    expect(left).to_have_text(re.compile("first.*the cell no longer declares it"))
    name = left.locator(".icr-name")
    widths = name.evaluate(
        """(node) => {
          node.closest(".icr").style.width = "320px";
          const widths = [node.scrollWidth, node.clientWidth];
          node.closest(".icr").style.width = "";
          return widths;
        }"""
    )
    assert widths[0] <= widths[1]
    expect(get_card(notebook, "second")).to_be_visible()
    left.get_by_role("button", name="End first").click()
    expect(left.locator(".icr-reason")).to_have_text("has been ended")
    notebook.run_again(DECLARED.replace("1\n", "1 +\n"))
    expect(left).to_have_text(re.compile("second.*continues unchanged"))
    notebook.delete_cell()
    notebook.run("1;")
    expect(left).to_have_text(re.compile("second.*its cell was deleted"))
    copy = notebook.page.locator(".ipycron-static")
    expect(copy).to_be_hidden()
    left.get_by_role("button", name="End second").click()
    expect(left.locator(".icr-reason")).to_have_text("has been ended")
    notebook.wait_for_text(copy, "second: has been ended")


CAPTURING = """%%cron 0 0 1 1 * --name capturing --run-now --into got
print("hello")
(words, 7)
"""


@LAB_FIRST
def test_card_lists_what_was_captured_and_shows_the_result_once(notebook):
    """A folded row of chips replaces the line above it; open after a reload."""
    notebook.run("words = ['a']")
    notebook.run(CAPTURING)
    card = get_card(notebook, "capturing")
    expect(card.locator(".icr-countdown")).to_have_attribute(
        "title", re.compile(r"^Next run (.+ 00:00:00(, | )){3}\S+$")
    )
    fold = card.get_by_role("button", name=re.compile("Captured 1 variable, .* B"))
    expect(fold).to_have_attribute("aria-expanded", "false")
    expect(card.locator(".icr-facts")).to_contain_text("each result goes to got")
    chips = card.locator(".icr-chip")
    expect(chips).to_be_hidden()
    fold.click()
    expect(chips).to_have_text(re.compile(r"wordslist\d+ B"))
    expect(chips).to_be_visible()
    expect(card.locator(".icr-output")).to_have_text(re.compile(r"hello\(\['a'\], 7\)"))
    expect(card.locator(".icr-summary")).to_be_empty()
    notebook.reload()
    expect(chips).to_be_visible()
    copy = notebook.page.locator(".ipycron-static")
    expect(copy).to_be_hidden()
    notebook.wait_for_text(copy, "capturedwords (list)")
    notebook.wait_for_text(copy, "noteeach result goes to got")
    assert notebook.page.locator("[data-mime-type$=stdout]").count() == 0


CHAINED = """%%cron 0 0 1 1 * --name chained --run-now
import json
def read(text):
    try:
        return json.loads(text)
    except ValueError as error:
        raise RuntimeError("no configuration") from error
print("\x1b[30;43mmarked\x1b[0m\\n\x1b[2mdim\x1b[0m \x1b[92mlime\x1b[0m")
read("{")
"""


@LAB_FIRST
def test_traceback_begins_with_the_last_error_and_folds_libraries(notebook):
    """Copying gives Python's own text, and all of it can be read."""
    notebook.context.grant_permissions(["clipboard-read", "clipboard-write"])
    notebook.run(CHAINED)
    card = get_card(notebook, "chained")
    trace = card.locator(".icr-trace:visible")
    expect(trace.locator(".icr-error")).to_have_text(
        [
            re.compile("^RuntimeError: no conf"),
            re.compile("^JSONDecodeError: Expecting"),
        ]
    )
    expect(trace.locator(".icr-relation")).to_have_text("Caused by")
    expect(trace).not_to_contain_text(re.compile("-----------|most recent call last"))
    library = trace.locator("details")
    expect(library.locator("summary")).to_have_text("3 frames in json")
    expect(library.get_by_text("decoder.py").first).to_be_hidden()
    library.locator("summary").click()
    expect(library.get_by_text("decoder.py").first).to_be_visible()

    card.get_by_role("button", name="Copy error").click()
    expect(card.get_by_role("button", name="Copied")).to_be_visible()
    copied = notebook.page.evaluate("() => navigator.clipboard.readText()")
    assert copied.startswith("Traceback (most recent call last):\nCell chained, line")
    assert copied.endswith("RuntimeError: no configuration")
    assert "\x1b" not in copied
    card.get_by_role("button", name="Copy output").click()
    notebook.page.wait_for_function(
        "async () => (await navigator.clipboard.readText()).endsWith('dim lime')"
    )
    with notebook.page.expect_download() as download:
        card.get_by_role("button", name="Save output").click()
    assert re.fullmatch(r"chained-\d{8}-\d{6}\.txt", download.value.suggested_filename)
    saved = download.value.path().read_text()
    assert saved == "marked\ndim lime\n"

    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        notebook.set_theme(theme)
        found = Axe().run(notebook.page, context=".icr-card")
        assert found.violations_count == 0, found.generate_report()


TALL = """%%cron 0 0 1 1 * --name tall --run-now
import matplotlib.pyplot as plt
print("line\\n" * 40)
plt.subplots(figsize=(4, 9));
"""


@LAB_FIRST
def test_output_can_be_expanded_and_shows_figures_from_their_top(notebook):
    """A figure higher than the box is cut off below until the box is opened."""
    notebook.run(TALL)
    card = get_card(notebook, "tall")
    output, figure = card.locator(".icr-output"), card.locator(".icr-slot")
    expect(card.locator("img[src^='data:image/png']")).to_be_visible()
    expect(card.locator(".icr-how")).to_contain_text("finished")
    top = "nodes => { const [a, b] = nodes.map(n => n.getBoundingClientRect().top);"
    top += " return Math.abs(a - b) < 3; }"
    handles = [output.element_handle(), figure.element_handle()]
    notebook.page.wait_for_function(top, arg=handles)
    card.get_by_role("button", name="Expand").click()
    is_whole = "node => node.scrollHeight <= node.clientHeight + 1"
    notebook.page.wait_for_function(is_whole, arg=handles[0])
    card.get_by_role("button", name="Collapse").click()
    expect(card.get_by_role("button", name="Expand")).to_be_visible()


COUNTING = """%%cron 0 0 1 1 * --name counting --run-now
import time
from IPython.display import HTML, display
print("at", time.time_ns())
display(HTML(f"<table><tr><td>since</td><td>{time.time_ns()}</td></tr></table>"))
"""


@LAB_FIRST
@pytest.mark.parametrize("where", [".icr-output", ".icr-output table"])
def test_selected_text_survives_the_next_run(notebook, where):
    """It stays, with a note, until nothing is selected any more.

    A table is rendered by the notebook: its new output comes by another way.
    """
    notebook.run(COUNTING)
    card = get_card(notebook, "counting")
    output = card.locator(".icr-output")
    expect(output).to_contain_text("at ")
    expect(output).to_contain_text("since")
    expect(card.locator(".icr-counts")).to_have_text("1 ok")
    before = output.inner_text()
    card.locator(where).evaluate("node => getSelection().selectAllChildren(node)")
    selected = notebook.page.evaluate("() => getSelection().toString()")
    assert re.search(r"\d{19}", selected)
    chosen = card.locator(".icr-run[aria-selected='true']")
    shown = chosen.get_attribute("data-run")
    for count in (2, 3):
        card.get_by_role("button", name="Run now").evaluate("node => node.click()")
        expect(card.locator(".icr-counts")).to_have_text(f"{count} ok")
    expect(card.locator(".icr-held")).to_be_visible()
    expect(card.locator(".icr-run")).to_have_count(3)
    expect(chosen).to_have_attribute("data-run", shown)
    assert output.inner_text() == before
    assert notebook.page.evaluate("() => getSelection().toString()") == selected
    notebook.page.evaluate("() => getSelection().removeAllRanges()")
    expect(card.locator(".icr-held")).to_be_hidden()
    expect(chosen).not_to_have_attribute("data-run", shown)
    for shown in re.findall(r"\d{19}", before):
        expect(output).not_to_contain_text(shown)
    expect(output).to_have_text(re.compile(r"at \d{19}\s*since\s*\d{19}"))


@LAB_FIRST
def test_history_says_how_many_runs_it_leaves_out(notebook):
    """The last twenty are kept, all are counted."""
    notebook.run(
        "task = ipycron.schedule('0 0 1 1 *', int, background=True, name='often')\n"
        "task.start().result(20)\n"
        "for _ in range(25): task.execute().result(10)\n"
        "task"
    )
    card = get_card(notebook, "often")
    expect(card.locator(".icr-counts")).to_have_text("25 ok")
    card.get_by_role("button", name="History").click()
    expect(card.locator(".icr-run")).to_have_count(20)
    expect(card.locator(".icr-of")).to_have_text("The last 20 of 25 runs")
    card.get_by_role("button", name="Run now").click()
    expect(card.locator(".icr-of")).to_have_text("The last 20 of 26 runs")


REVOKED = """declare = get_ipython().run_cell_magic
declare("cron", "@yearly --name revoked --run-now", "1")
%cron stop revoked
"""


@LAB_FIRST
def test_start_revoked_by_a_stop_is_not_a_failure(notebook):
    """As in "Restart & Run All" with a stop below: stopped, and nothing is red."""
    notebook.run(REVOKED)
    card = get_card(notebook, "revoked")
    expect(card.locator(".icr-status")).to_have_text("stopped")
    expect(card.locator(".icr-trace:visible")).to_have_count(0)
    expect(card.locator(".icr-counts")).not_to_contain_text("failed")
    copy = notebook.page.locator(".ipycron-static")
    notebook.wait_for_text(copy, "stopped")
    assert "did not start" not in copy.text_content()


UNSENT = """%%cron 0 0 1 1 * --name unsent --run-now --into got
import threading
threading.Lock()
"""


@LAB_FIRST
def test_result_that_cannot_travel_is_amber(notebook):
    """The run succeeded, but its result is not here: one line says so."""
    notebook.run(UNSENT)
    card = get_card(notebook, "unsent")
    head = card.locator(".icr-runhead")
    expect(head).to_have_attribute("data-state", "warning")
    expect(head.locator(".icr-icon-warning")).to_be_visible()
    expect(head.locator(".icr-summary")).to_contain_text("lock")
    expect(card.locator(".icr-trace:visible")).to_have_count(0)
    for theme, colour in (
        ("JupyterLab Dark", "rgb(224, 176, 80)"),
        ("JupyterLab Light", "rgb(138, 93, 0)"),
    ):
        notebook.set_theme(theme)
        expect(head.locator(".icr-holder")).to_have_css("color", colour)


SLOW = """%%cron 0 0 1 1 * --name slow --run-now
import time
print("begun", flush=True)
time.sleep(1.5)
"""


@LAB_FIRST
def test_saved_copies_are_as_new_as_what_is_seen(notebook):
    """A finished run is not saved as running; a panel includes later tasks."""
    notebook.run("ipycron.panel()")
    notebook.run(SLOW)
    copies = notebook.page.locator(".ipycron-static")
    expect(get_card(notebook, "slow").locator(".icr-how")).to_contain_text("finished")
    notebook.wait_for_text(copies.last, "finished")
    notebook.wait_for_text(copies.first, "slow")
    notebook.wait_for_text(copies.first, "finished")
    saved = [
        output.data["text/html"]
        for cell in notebook.save().cells
        for output in cell.get("outputs", ())
        if "text/html" in output.get("data", {})
    ]
    assert len(saved) == 2
    assert all("finished" in html and "running" not in html for html in saved)
