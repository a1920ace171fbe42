"""The panel of all tasks, in a real JupyterLab and a real Notebook 7."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from front_ends import LAB_FIRST
from playwright.sync_api import expect
from polling import eventually

SCREENSHOTS = Path(__file__).parent / "screenshots"
PANEL = "ipycron.panel()"
TASKS = """
import datetime, ipycron
# Due in more than six hours, whenever this runs.
later = (datetime.datetime.now(datetime.UTC).hour + 12) % 24
def tick():
    print("tick")
def fail():
    print("before it fails")
    raise ValueError("no <b>luck</b>")
def work():
    import time
    for step in range(100):
        print("step", step)
        time.sleep(0.5)
ipycron.schedule("* * * * * *", tick, background=True, name="ticking")
ipycron.schedule("0 0 1 1 *", fail, background=True, name="failing").execute()
daily = dict(background=True, timezone="UTC", name="daily")
ipycron.schedule(f"30 {later} * * *", tick, **daily)
# One run, even where a slot comes now.
one = dict(background=True, no_overlap=True, name="working")
ipycron.schedule("*/20 * * * *", work, **one).execute()
ipycron.create_task("@weekly", tick, background=True, name="<i>resting</i>");
"""
MANY = """
import ipycron
for number in range(200):
    ipycron.schedule("* * * * * *", lambda: None, name=f"task {number}")
"""


def get_row(notebook, name):
    """Return a task's row in the first panel."""
    panel = notebook.page.locator(".icr-panel").first
    return panel.locator(".icr-row").filter(
        has=notebook.page.locator(".icr-name", has_text=name)
    )


def open_row(notebook, name):
    """Open a task's detail; return it."""
    get_row(notebook, name).locator(".icr-opener").click()
    return notebook.page.locator(".icr-detail")


def read_colour(text):
    """Return the red, green and blue of a computed colour."""
    return [int(number) for number in re.findall(r"\d+", text)[:3]]


def count_runs(row):
    """Return a row's number of finished runs."""
    found = re.match(r"(\d+) ok", row.locator(".icr-counts").inner_text())
    return int(found[1]) if found else 0


def wait_for_runs(row, count):
    """Wait until a row shows so many finished runs."""
    numbers = "|".join(map(str, range(count, count + 60)))
    expect(row.locator(".icr-counts")).to_have_text(re.compile(rf"^({numbers}) ok"))


def count_work(devtools):
    """Return a page's layout and style counts, among others."""
    metrics = devtools.send("Performance.getMetrics")["metrics"]
    return Counter({item["name"]: int(item["value"]) for item in metrics})


def test_panel_shows_every_task(notebook):
    """Status, schedule in words, next and last run, each in its column."""
    notebook.run(TASKS)
    notebook.run(PANEL)

    expect(notebook.page.locator(".icr-row")).to_have_count(5)
    expect(get_row(notebook, "ticking")).to_contain_text("Every second")
    wait_for_runs(get_row(notebook, "ticking"), 2)
    failing = get_row(notebook, "failing")
    expect(failing.locator(".icr-last")).to_have_attribute("data-state", "failed")
    expect(failing).to_contain_text("ValueError: no <b>luck</b>")
    daily = get_row(notebook, "daily")
    expect(daily.locator(".icr-countdown")).to_have_text(re.compile(r"1\d:\d\d:\d\d"))
    expect(daily).to_contain_text(re.compile(r"At \d\d:30"))
    resting = get_row(notebook, "<i>resting</i>")
    expect(resting.locator(".icr-status")).to_have_text("stopped")
    expect(resting.locator(".icr-countdown")).to_have_text("–")
    working = get_row(notebook, "working")
    expect(working.locator(".icr-status")).to_have_text("running")
    expect(working.locator(".icr-last")).to_contain_text(re.compile(r"00:\d\d"))
    summary = notebook.page.locator(".icr-panel .icr-top")
    expect(summary).to_contain_text("5 tasks")
    expect(summary).to_contain_text("1 failing")
    assert notebook.outside_requests == []


@LAB_FIRST
def test_panel_shows_the_output_of_a_row(notebook):
    """An opened row follows its task and shows a failure's traceback."""
    notebook.run(TASKS)
    notebook.run(PANEL)
    detail = open_row(notebook, "working")
    output = detail.locator(".icr-output")

    expect(output).to_contain_text("step 3")
    detail = open_row(notebook, "failing")
    expect(detail.locator(".icr-trace:visible")).to_contain_text("ValueError: no <b>")
    expect(output).to_have_text("before it fails")
    get_row(notebook, "failing").get_by_role("button", name="Run now").click()
    expect(detail.locator(".icr-run")).to_have_count(2)
    get_row(notebook, "failing").locator(".icr-opener").click()
    expect(detail).to_have_count(0)


def test_panel_goes_on_while_the_kernel_is_busy(notebook, tmp_path):
    """A sleeping cell blocks neither updates nor buttons."""
    notebook.run(TASKS)
    notebook.run(PANEL)
    ticking = get_row(notebook, "ticking")
    wait_for_runs(ticking, 1)
    wake = tmp_path / "wake"
    notebook.run(
        f"import os, time\nwhile not os.path.exists({str(wake)!r}):\n"
        "    time.sleep(0.5)\nprint('woken' * 2)",
        is_awaited=False,
    )

    wait_for_runs(ticking, count_runs(ticking) + 3)
    get_row(notebook, "daily").get_by_role("button", name="Stop").click()
    expect(get_row(notebook, "daily").locator(".icr-status")).to_have_text("stopped")
    assert notebook.page.get_by_text("wokenwoken").count() == 0
    wake.touch()
    expect(notebook.page.get_by_text("wokenwoken")).to_be_visible()


@LAB_FIRST
def test_panel_counts_on_while_the_interpreter_is_held(notebook, tmp_path):
    """While a call holds the GIL, the page ticks and says that it is waiting."""
    notebook.run(TASKS)
    notebook.run(PANEL)
    daily = get_row(notebook, "daily").locator(".icr-countdown")
    expect(daily).to_have_text(re.compile(r"\d\d:\d\d"))
    begun, go_on = tmp_path / "begun", tmp_path / "go-on"
    # For a minute at most, should the test fail before it touches the file.
    wait = f"for n in $(seq 600); do [ -e {go_on} ] && break; sleep 0.1; done"
    command = f"touch {begun}; {wait}"
    notebook.run(
        f"import ctypes; ctypes.PyDLL(None).system({command.encode()!r});",
        is_awaited=False,
    )
    eventually(begun.exists, "the call has begun")
    get_row(notebook, "daily").get_by_role("button", name="Stop").click()

    before = daily.inner_text()
    line = notebook.page.locator(".icr-line-state")
    expect(line).to_have_text("Kernel busy, command queued.")
    expect(daily).not_to_have_text(before)
    assert line.inner_text() == "Kernel busy, command queued."  # it still is
    go_on.touch()
    expect(get_row(notebook, "daily").locator(".icr-status")).to_have_text("stopped")
    expect(line).to_be_hidden()


def test_panel_works_from_the_keyboard(notebook):
    """Rows can be visited, opened and controlled without a mouse."""
    notebook.run(TASKS)
    notebook.run(PANEL)
    keyboard = notebook.page.keyboard
    cells = notebook.count_cells()
    get_row(notebook, "ticking").locator(".icr-opener").focus()

    keyboard.press("ArrowDown")
    keyboard.press("Enter")
    detail = notebook.page.locator(".icr-detail")
    expect(detail.locator(".icr-trace:visible")).to_contain_text("ValueError")
    wait_for_runs(get_row(notebook, "ticking"), 1)
    keyboard.press("ArrowUp")
    keyboard.press("Tab")
    focused = notebook.page.locator(":focus")
    expect(focused).to_have_attribute("aria-label", re.compile(r"^finished, "))
    keyboard.press("Tab")
    expect(focused).to_have_attribute("title", "Run now")
    keyboard.press("Tab")
    expect(focused).to_have_attribute("title", "Stop")
    keyboard.press("ArrowDown")
    keyboard.press(" ")
    expect(get_row(notebook, "failing").locator(".icr-status")).to_have_text("stopped")
    expect(focused).to_have_attribute("title", "Start")
    assert notebook.count_cells() == cells


@LAB_FIRST
def test_panel_is_restored_when_the_page_is_reloaded(notebook):
    """The opened row, the filter, the order and folded parts are restored."""
    notebook.run(TASKS)
    notebook.run(PANEL)
    panel = notebook.page.locator(".icr-panel")
    open_row(notebook, "failing")
    panel.get_by_role("searchbox").fill("ing")
    expect(notebook.page.locator(".icr-row")).to_have_count(4)
    panel.get_by_role("columnheader", name="Task").get_by_role("button").click()
    names = ["<i>resting</i>", "failing", "ticking", "working"]
    expect(notebook.page.locator(".icr-row .icr-name")).to_have_text(names)
    panel.get_by_role("button", name="Events").click()
    expect(panel.locator(".icr-events")).to_be_hidden()
    notebook.reload()

    expect(notebook.page.locator(".icr-row .icr-name")).to_have_text(names)
    expect(panel.get_by_role("searchbox")).to_have_value("ing")
    expect(panel.locator(".icr-events")).to_be_hidden()
    expect(panel.locator(".icr-detail .icr-output")).to_have_text("before it fails")
    wait_for_runs(get_row(notebook, "ticking"), 1)


def test_panel_is_back_when_the_kernel_has_many_views(own_notebook):
    """A page gives the kernel two seconds for all: the script is sent once."""
    count, sizes = 100, []

    def listen(socket):
        socket.on("framereceived", lambda frame: sizes.append(len(frame)))

    own_notebook.run(TASKS)
    own_notebook.run(f"[{PANEL} for _ in range({count})][-1]")
    expect(own_notebook.page.locator(".icr-row")).to_have_count(5)
    own_notebook.page.on("websocket", listen)
    own_notebook.reload()

    expect(own_notebook.page.locator(".icr-row")).to_have_count(5)
    wait_for_runs(get_row(own_notebook, "ticking"), 1)
    assert own_notebook.errors == []
    assert max(sizes) < count * 60_000


@LAB_FIRST
def test_views_fit_into_a_narrow_notebook(notebook):
    """Two notebooks side by side: names are readable, all buttons visible."""
    notebook.run(TASKS)
    notebook.run(f"display(ipycron.get_task('working'), {PANEL})")
    views = notebook.page.locator(".icr")
    expect(views).to_have_count(2)
    expect(notebook.page.locator(".icr-row")).to_have_count(5)
    expect(open_row(notebook, "ticking").locator(".icr-run").first).to_be_visible()
    lost = notebook.page.evaluate(
        """(widths) => widths.flatMap((width) => {
          const views = [...document.querySelectorAll(".icr")];
          for (const view of views) view.style.width = `${width}px`;
          const name = document.querySelector(".icr-card .icr-name");
          const lost = name.scrollWidth > name.clientWidth ? ["name"] : [];
          const find = (selector) => document.querySelector(selector);
          const isNarrow = width <= 480;
          const isShort = getComputedStyle(find(".icr-took")).display === "none";
          if (isShort !== isNarrow) lost.push(`duration at ${width}`);
          const runs = find(".icr-detail .icr-history").getBoundingClientRect();
          const output = find(".icr-detail-main").getBoundingClientRect();
          if (output.top >= runs.bottom !== isNarrow) lost.push(`output at ${width}`);
          const schedule = find("[data-key=pattern]").offsetWidth;
          if (schedule > 0 && schedule < 80) lost.push(`schedule at ${width}`);
          const heads = document.querySelectorAll(".icr-section-head .icr-opener");
          for (const { offsetHeight, textContent } of heads) {
            if (offsetHeight > 26) lost.push(`${textContent} at ${width}`);
          }
          if (width < 350) return lost; // the table scrolls
          for (const view of views) {
            const end = view.getBoundingClientRect().right - 2;
            for (const button of view.querySelectorAll(".icr-controls button")) {
              const { right } = button.getBoundingClientRect();
              if (right > end) lost.push(`${button.title} at ${width}`);
            }
          }
          return lost;
        })""",
        [250, 380, 480, 640, 660, 720, 760, 1000],
    )
    assert lost == []


@LAB_FIRST
def test_heading_of_the_strips_begins_where_they_do(notebook):
    """In a wide panel and in a narrow one."""
    notebook.run(TASKS)
    notebook.run(f"import ipywidgets as w; box = w.Box([{PANEL}]); box")
    expect(notebook.page.locator(".icr-row")).to_have_count(5)
    for width in (1000, 720):
        notebook.run(f"box.layout.width = '{width}px'")
        heading = notebook.page.locator("th[data-key='duration'] button")
        begin = heading.evaluate(
            """(button) => {
              const text = document.createRange();
              text.selectNodeContents(button);
              return text.getBoundingClientRect().x;
            }"""
        )
        strip = notebook.page.locator(".icr-row .icr-strip").first
        assert abs(strip.bounding_box()["x"] - begin) <= 1


@LAB_FIRST
def test_views_have_a_width_of_their_own_beside_each_other(notebook):
    """A box asks its children for their width."""
    notebook.run(TASKS)
    notebook.run(f"import ipywidgets as w; w.HBox([{PANEL}, w.Label('and more')])")
    expect(notebook.page.locator(".icr-row")).to_have_count(5)
    assert notebook.page.locator(".icr").bounding_box()["width"] > 500


@LAB_FIRST
def test_panel_shows_the_next_hours_and_what_has_happened(notebook):
    """A line for each armed task; problems can be filtered."""
    notebook.run(TASKS)
    notebook.run(PANEL)
    panel = notebook.page.locator(".icr-panel")
    names = panel.locator(".icr-timeline-name")

    # The range is a day: nothing but the task that is due in January is left out.
    expect(names).to_have_text(["ticking", "daily", "working"])
    expect(panel.locator(".icr-band")).to_have_count(1)
    expect(panel.locator(".icr-pace")).to_have_text("every second")
    select = panel.get_by_label("How far ahead")
    expect(select.locator("option:checked")).to_have_text("Auto: 24 hours")
    select.select_option("6 hours")
    expect(names).to_have_text(["ticking", "working"])
    assert panel.locator(".icr-tick").count() in (18, 19)
    select.select_option("1 year")
    expect(names).to_have_text(["ticking", "failing", "daily", "working"])
    log = panel.locator(".icr-events")
    expect(log).to_contain_text("finished in")
    panel.get_by_label("Problems only").check()
    expect(log).not_to_contain_text("finished in")
    expect(log).to_contain_text("ValueError: no <b>luck</b>")
    log.get_by_role("button", name="failing").first.click()
    expect(panel.locator(".icr-detail .icr-output")).to_have_text("before it fails")


@LAB_FIRST
def test_panel_sorts_and_filters(notebook):
    """Headers show the order, a click filters failures, a text filters all."""
    notebook.run(TASKS)
    notebook.run(PANEL)
    panel = notebook.page.locator(".icr-panel")
    names = panel.locator(".icr-row .icr-name")
    head = panel.get_by_role("columnheader", name="Last run")
    wait_for_runs(get_row(notebook, "ticking"), 1)

    expect(head).to_have_attribute("aria-sort", "none")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    expect(names.first).to_have_text("ticking")
    expect(names.last).to_have_text("<i>resting</i>")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    expect(names.nth(2)).to_have_text("ticking")  # the others ran once, before it
    expect(names.last).to_have_text("<i>resting</i>")

    failing = panel.get_by_role("button", name="1 failing")
    failing.click()
    expect(failing).to_have_attribute("aria-pressed", "true")
    expect(names).to_have_text(["failing"])
    events = panel.locator(".icr-event .icr-link")
    expect(events.first).to_have_text("failing")
    assert set(events.all_inner_texts()) == {"failing"}
    failing.click()
    panel.get_by_role("searchbox").fill("running")
    expect(names).to_have_text(["working"])
    expect(panel.locator(".icr-timeline-name")).to_have_text(["working"])
    expect(events.first).to_have_text("working")
    assert set(events.all_inner_texts()) == {"working"}


@LAB_FIRST
def test_panel_asks_in_words_before_it_destroys(notebook):
    """Every button names its task; a task is destroyed only when confirmed."""
    notebook.run(TASKS)
    notebook.run(PANEL)
    row = get_row(notebook, "daily")
    keyboard = notebook.page.keyboard

    for label in ("Run now", "Stop", "Destroy"):
        expect(row.get_by_role("button", name=f"{label}: daily")).to_be_visible()
    destroy = row.get_by_role("button", name="Destroy: daily")
    destroy.click()
    question = row.get_by_role("group", name="Destroy daily? It will not run again.")
    expect(question).to_contain_text("Destroy daily?")
    keyboard.press("Escape")
    expect(question).to_be_hidden()
    expect(destroy).to_be_focused()
    keyboard.press("Enter")
    question.get_by_role("button", name="Keep").click()
    expect(question).to_be_hidden()
    destroy.click()
    get_row(notebook, "working").locator(".icr-opener").focus()
    expect(question).to_be_hidden()
    destroy.click()
    expect(get_row(notebook, "daily")).to_have_count(1)
    question.get_by_role("button", name="Destroy").click()
    expect(get_row(notebook, "daily")).to_have_count(0)


LAYOUT = """([width]) => {
  const panel = document.querySelector(".icr-panel");
  panel.style.width = `${width}px`;
  const box = panel.getBoundingClientRect();
  const faults = [];
  // Whatever is cut says so by an ellipsis, or is not there at all.
  const walker = document.createTreeWalker(panel, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const { parentElement: parent, data } = node;
    const isOff = !parent.checkVisibility({ visibilityProperty: true })
      || parent.closest("[aria-hidden], select, .icr-hidden, .icr-scroll .icr-detail");
    // A box of one pixel is there for screen readers.
    if (isOff || !data.trim() || parent.clientWidth === 1) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const text = range.getBoundingClientRect();
    if (text.width < 2) continue;
    let edge = box.right;
    let hasEllipsis = false;
    for (let el = parent; el && el !== panel; el = el.parentElement) {
      const style = getComputedStyle(el);
      if (style.overflowX === "visible") continue;
      edge = Math.min(edge, el.getBoundingClientRect().right);
      hasEllipsis ||= style.textOverflow === "ellipsis";
    }
    if (text.right > edge + 1 && !hasEllipsis) faults.push(`${data} is cut`);
  }
  const rows = [...panel.querySelectorAll(".icr-row")];
  const find = (row, name) => row.querySelector(name)?.getBoundingClientRect();
  for (const row of rows) {
    const top = row.getBoundingClientRect().top;
    const first = [".icr-name", ".icr-status", ".icr-countdown", ".icr-last"];
    const middles = first.map((name) => {
      const found = find(row, name);
      return Math.round(found.top + found.height / 2 - top);
    });
    if (Math.max(...middles) - Math.min(...middles) > 1) faults.push(`row: ${middles}`);
    if (row.getBoundingClientRect().height !== rows[0].getBoundingClientRect().height) {
      faults.push("rows of two heights");
    }
  }
  const failing = panel.querySelector(".icr-failing");
  if (failing.scrollWidth > failing.clientWidth + 1) faults.push("failing is cut");
  if (failing.getBoundingClientRect().right > box.right) faults.push("failing is gone");
  return faults;
}"""


@LAB_FIRST
def test_panel_cuts_nothing_without_saying_so(notebook):
    """Names use the free space; all rows have the same height."""
    notebook.run(TASKS)
    long = "a name that is long and has room"
    notebook.run(f'ipycron.create_task("@weekly", tick, name="{long}");')
    notebook.run(PANEL)
    expect(notebook.page.locator(".icr-row")).to_have_count(6)
    wait_for_runs(get_row(notebook, "ticking"), 1)

    for width in (1200, 900, 600, 420):
        assert notebook.page.evaluate(LAYOUT, [width]) == [], width
    widths = notebook.page.evaluate(
        """() => [1200, 600].map((width) => {
          document.querySelector(".icr-panel").style.width = `${width}px`;
          const names = ".icr-row .icr-name, .icr-timeline-name";
          return [...document.querySelectorAll(names)]
            .filter((name) => name.scrollWidth > name.clientWidth)
            .map((name) => name.textContent);
        })"""
    )
    assert [set(cut) for cut in widths] == [set(), {long}]


PARALLEL = """
import ipycron, threading
held = threading.Event()
side = ipycron.schedule("0 0 1 1 *", held.wait, name="side")
for number in range(3):
    side.execute()
"""


@LAB_FIRST
def test_views_count_runs_that_are_in_progress_beside_each_other(notebook):
    """Three runs are counted, newest first, and each can be inspected."""
    notebook.run(PARALLEL)
    notebook.run(f"display(side, {PANEL})")
    detail = open_row(notebook, "side")

    expect(get_row(notebook, "side").locator(".icr-status")).to_have_text("3 running")
    card = notebook.page.locator(".icr-card")
    expect(card.locator(".icr-status")).to_have_text("3 running")
    runs = detail.locator(".icr-run")
    expect(runs).to_have_count(3)
    expect(runs.first).to_have_attribute("aria-selected", "true")
    shown = [run.get_attribute("data-run") for run in runs.all()]
    runs.last.click()
    expect(runs.last).to_have_attribute("aria-selected", "true")
    assert [run.get_attribute("data-run") for run in runs.all()] == shown
    notebook.run("started = [run.id for run in side.running]; print(started, 'ids')")
    output = notebook.page.get_by_text(re.compile(r"\['.*'\] ids"))
    assert re.findall(r"[\w-]{6,}", output.inner_text()) == shown[::-1]
    notebook.run("held.set()")


@LAB_FIRST
def test_panels_are_two_at_once(notebook):
    """Each has its own opened row; both are updated."""
    notebook.run(TASKS)
    notebook.run(PANEL)
    notebook.run(PANEL)
    panels = notebook.page.locator(".icr-panel")
    expect(panels).to_have_count(2)
    panels.nth(0).locator(".icr-opener", has_text="failing").click()

    expect(panels.nth(0).locator(".icr-detail")).to_have_count(1)
    expect(panels.nth(1).locator(".icr-detail")).to_have_count(0)
    for index in range(2):
        row = panels.nth(index).locator(".icr-row", has_text="ticking")
        wait_for_runs(row, count_runs(row) + 1)


@LAB_FIRST
def test_panel_stays_smooth_with_two_hundred_tasks(notebook):
    """All are due every second; the page is laid out a few times a second."""
    notebook.run(MANY)
    notebook.run(PANEL)
    expect(notebook.page.locator(".icr-row")).to_have_count(200)
    wait_for_runs(get_row(notebook, "task 199"), 1)

    devtools = notebook.context.new_cdp_session(notebook.page)
    devtools.send("Performance.enable")
    before = count_work(devtools)
    notebook.page.wait_for_timeout(4000)
    done = count_work(devtools)
    done.subtract(before)

    # Counted, not timed: one message and one tick of the clocks are two layouts a
    # second, to which JupyterLab adds its own: 9 in all where it was quiet, 20 on a
    # busy machine. A layout for each row would be a thousand.
    assert done["LayoutCount"] <= 4 * 10
    assert done["RecalcStyleCount"] <= 4 * 10
    for number in (150, 199):
        wait_for_runs(get_row(notebook, f"task {number}"), 3)


RESTORED = """%%cron * * * * * * --name again
print("tick")
"""


THEMES = ["JupyterLab Light", "JupyterLab Dark"]
BROKEN = """%%cron 0 0 1 1 * --name broken
1
"""
TAKING = """%%cron 0 0 1 1 * --name taking
print(level)
"""
UNMET = """
unmet = ipycron.schedule("0 0 1 1 *", tock, background=True, name="unmet")
"""


@pytest.mark.parametrize(
    "own_notebook",
    ["lab", pytest.param("notebook", marks=pytest.mark.full)],
    indirect=True,
)
def test_panel_restores_its_tasks_after_a_restart(own_notebook):
    """It is grey and inactive; a click runs the cells that declared its tasks."""
    notebook = own_notebook
    notebook.run(RESTORED)
    notebook.run(TASKS)
    notebook.run(PANEL)
    panel = notebook.page.locator(".icr-panel")
    wait_for_runs(get_row(notebook, "again"), 1)
    restore = panel.get_by_role("button", name="Restore")
    expect(restore).to_be_hidden()
    notebook.restart()

    expect(restore).to_have_text("Restore 6 tasks")
    clock = panel.locator(".icr-clock")
    seen = clock.inner_text(), get_row(notebook, "working").inner_text()
    for theme in reversed(THEMES):
        notebook.set_theme(theme)
        colours = panel.locator(".icr-row .icr-status").evaluate_all(
            "(all) => [...new Set(all.map((mark) => getComputedStyle(mark).color))]"
        )
        assert notebook.find_faults(".icr-panel") == []
        (grey,) = colours
        assert max(shades := read_colour(grey)) - min(shades) < 32
    notebook.page.wait_for_timeout(1200)
    assert (clock.inner_text(), get_row(notebook, "working").inner_text()) == seen
    restore.click()
    expect(panel.locator(".icr-line-state")).to_be_hidden()
    expect(panel).to_have_count(1)
    expect(notebook.page.locator(".icr-row")).to_have_count(6)
    wait_for_runs(get_row(notebook, "again"), 1)
    card = notebook.page.locator(".icr-card")
    expect(card.locator(".icr-output")).to_contain_text("tick")
    expect(get_row(notebook, "working").locator(".icr-status")).to_have_text("running")
    assert notebook.errors == []


FIND_COPIES = """
from ipycron.client.registry import registry
from ipycron.notebook.display.feed import Feed
views = registry.get_single(Feed)._views
pages = [view for view in views if hasattr(view, "_display_id")]
names = {page: [task.name for task in page._find_tasks()] for page in pages}
copies = [page._display_id for page in pages if names[page] in (["unmet"], ["taking"])]
assert len(copies) == 2, names
"""
UPDATE_COPIES = """
from IPython.display import update_display
for display_id in copies:
    update_display({"text/plain": "a stale copy"}, raw=True, display_id=display_id)
"""


def test_panel_says_which_cell_cannot_be_restored(own_notebook):
    """It offers the others; a deleted cell is not run.

    A cell whose variables are not there again says which, whether it fails at once or
    its runs would.
    """
    notebook = own_notebook
    notebook.run(BROKEN)
    notebook.run("level = 1\ndef tock(): pass")
    notebook.run(UNMET)
    notebook.run(TAKING)
    notebook.run(BROKEN.replace("broken", "deleted"))
    notebook.run(PANEL)
    panel = notebook.page.locator(".icr-panel")
    expect(panel.locator(".icr-row")).to_have_count(4)
    notebook.delete_cell_with("--name deleted")
    notebook.restart()

    line = panel.locator(".icr-line-state")
    restore = line.get_by_role("button")
    expect(restore).to_have_text("Restore 3 tasks")
    expect(line).to_contain_text("first run the cells above that define what they use")
    restore.click()
    expect(restore).to_have_text("Restore 2 tasks")
    advice = "not defined yet: run the cells above that define it, then restore again."
    expect(panel.locator(".icr-notices .icr-notice")).to_have_text(
        [
            re.compile(rf"^Cell \[\d+\] uses '{name}', {advice}")
            for name in ("tock", "level")
        ]
    )
    notebook.run("level = 2\ndef tock(): pass")
    notebook.run(FIND_COPIES)
    restore.click()
    expect(line).to_be_hidden()
    # What the cells' earlier runs have shown is gone: an update of it changes nothing.
    notebook.run(UPDATE_COPIES)
    outputs = notebook.page.locator(".jp-OutputArea-output")
    assert outputs.filter(has_text="a stale copy").count() == 0
    names = notebook.page.locator(".icr-row .icr-name")
    expect(names).to_have_text(["broken", "unmet", "taking"])
    notebook.run("ipycron.get_task('taking').execute().result(20)")
    expect(get_row(notebook, "taking").locator(".icr-counts")).to_have_text("1 ok")
    assert notebook.errors == []


def test_panel_offers_to_restore_when_another_kernel_is_there(own_notebook):
    """Not without a kernel; a killed kernel is restarted by itself."""
    notebook = own_notebook
    notebook.run(BROKEN)
    notebook.run(PANEL)
    panel = notebook.page.locator(".icr-panel")
    line = panel.locator(".icr-line-state")
    expect(panel.locator(".icr-row")).to_have_count(1)
    notebook.shut_down_kernel()
    expect(line).to_have_text("The kernel is gone: this is how it was.")
    notebook.start_kernel()
    line.get_by_role("button", name="Restore 1 task").click()
    expect(line).to_be_hidden()
    notebook.run(
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", is_awaited=False
    )
    expect(line).to_contain_text("The kernel was restarted")
    expect(line.get_by_role("button", name="Restore 1 task")).to_be_visible()


CHAINED = """%%cron 0 0 1 1 * --name chained --run-now
import json
print("before")
try:
    json.loads("{")
except ValueError as error:
    raise RuntimeError("it cannot be read") from error
"""


@pytest.mark.parametrize(
    ("shared", "theme"),
    [
        ("lab", "JupyterLab Dark"),
        ("notebook", "JupyterLab Light"),
        pytest.param("lab", "JupyterLab Light", marks=pytest.mark.full),
        pytest.param("notebook", "JupyterLab Dark", marks=pytest.mark.full),
    ],
    indirect=["shared"],
)
def test_panel_and_card_can_be_read_by_everybody(notebook, theme):
    """Axe finds nothing: roles, names, contrast, even of tracebacks' colours.

    Pictures are kept to look at.
    """
    notebook.run(CHAINED)
    notebook.run(TASKS)
    notebook.run(PANEL)
    page = notebook.page
    card = page.locator(".icr-card")
    panel = page.locator(".icr-panel")
    expect(card.locator(".icr-trace:visible")).to_be_visible()
    card.get_by_role("button", name="History").click()
    detail = open_row(notebook, "chained")
    expect(detail.locator(".icr-trace:visible")).to_contain_text("RuntimeError")
    panel.get_by_role("columnheader", name="Task").get_by_role("button").click()
    wait_for_runs(get_row(notebook, "ticking"), 2)
    notebook.set_theme(theme)
    page.wait_for_timeout(500)

    SCREENSHOTS.mkdir(exist_ok=True)
    shade = theme.split()[1].lower()
    for name, view in (("card", card), ("panel", panel)):
        (SCREENSHOTS / f"{name}-{shade}.png").write_bytes(view.screenshot())
    faults = notebook.find_faults(".icr-card", ".icr-panel")
    panel.get_by_role("button", name="2 failing").click()
    get_row(notebook, "chained").get_by_role("button", name="Destroy").click()
    expect(panel.locator(".icr-ask:visible")).to_be_visible()
    faults += notebook.find_faults(".icr-panel")
    notebook.set_theme("JupyterLab Light")
    assert faults == []
