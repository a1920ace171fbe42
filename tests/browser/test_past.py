"""What was before: strips, runs of earlier kernels, the last 24 hours."""

from __future__ import annotations

from pathlib import Path

from front_ends import LAB_FIRST
from playwright.sync_api import expect

SUPPORT = str(Path(__file__).parents[1] / "support")
EARLIER = f"""
import os, sys, time
from pathlib import Path
sys.path.insert(0, {SUPPORT!r})
from history_rows import make_run, make_task, write
import ipycron

def remember(name, outcomes, *, every=60, before=120):
    now, rows = time.time(), [make_task("life of " + name, name=name)]
    for back, outcome in enumerate(outcomes):
        at = now - before - every * back
        said = {{}}
        if outcome not in ("missed", "paused", "overlap"):
            said = dict(started_at=at, finished_at=at + 2.1, pid=1, output_left_out=0,
                        output=f"<b>run</b> {{back}}\\n")
        if outcome == "failed":
            said |= dict(error_type="ValueError", error="no <i>luck</i>", traceback=(
                "Traceback (most recent call last):\\n"
                '  File "report.py", line 3, in main\\n    fetch()\\n'
                "ValueError: no <i>luck</i>"))
        rows.append(make_run(id=f"{{name}}-{{back}}", outcome=outcome, at=at, slot=at,
                             task="life of " + name, **said))
    write(Path(os.environ["IPYCRON_HISTORY"]), *rows)

def work():
    print("working")
"""


def make_report(notebook, name, outcomes, **options):
    """Schedule a task of which the history has runs, the newest first."""
    notebook.run(EARLIER)
    said = "".join(f", {key}={value!r}" for key, value in options.items())
    notebook.run(
        f"remember({name!r}, {outcomes!r}{said})\n"
        f"task = ipycron.schedule('0 0 1 1 *', work, background=True, name={name!r})"
    )


@LAB_FIRST
def test_mark_of_a_strip_opens_a_run_of_an_earlier_kernel(notebook):
    """By mouse and by key; output, error and traceback come from the file, as text."""
    make_report(notebook, "strip", ["finished", "failed", "missed", "timed_out"])
    notebook.run("ipycron.panel()")
    panel = notebook.page.locator(".icr-panel")
    strip = panel.locator(".icr-row .icr-strip")
    expect(strip).to_have_attribute("aria-label", "Last 4 of strip: 2 failed, 1 missed")
    strip.get_by_role("button", name="failed").click()

    detail = panel.locator(".icr-detail")
    expect(detail.locator(".icr-output")).to_have_text("<b>run</b> 1")
    expect(detail.locator(".icr-runhead")).to_contain_text("failed after 2.10 s")
    expect(detail.locator(".icr-trace:visible")).to_contain_text("no <i>luck</i>")
    expect(strip.locator("[aria-current]")).to_have_accessible_name(
        strip.get_by_role("button", name="failed").get_attribute("aria-label")
    )
    for key, said in (("ArrowLeft", "missed"), ("ArrowLeft", "timed out after 2.10 s")):
        notebook.page.keyboard.press(key)
        notebook.page.keyboard.press("Enter")
        expect(detail.locator(".icr-runhead")).to_contain_text(said)
    notebook.run("task.execute().result(20);")
    expect(strip.locator(".icr-mark")).to_have_count(5)
    strip.locator(".icr-mark").last.click()
    expect(detail.locator(".icr-output")).to_have_text("working")


@LAB_FIRST
def test_card_loads_older_runs_when_asked(notebook):
    """A page at a time, below those of this kernel; the end is said."""
    outcomes = ["finished"] * 119 + ["failed"]
    make_report(notebook, "older", outcomes)
    notebook.run("task.execute().result(20); task")
    card = notebook.page.locator(".icr-card")
    card.get_by_role("button", name="History").click()
    runs = card.locator(".icr-run")
    expect(runs).to_have_count(1)
    older = card.get_by_role("button", name="Older runs")
    older.click()
    # The newest of the file's hundred is the one that is there already.
    expect(runs).to_have_count(100)
    older.focus()
    notebook.page.keyboard.press("Enter")
    expect(runs).to_have_count(121)
    expect(card.locator(".icr-said")).to_have_text("No older runs in the history.")
    runs.last.click()
    expect(card.locator(".icr-output")).to_have_text("<b>run</b> 119")
    expect(card.locator(".icr-trace:visible")).to_contain_text("no <i>luck</i>")


@LAB_FIRST
def test_older_runs_of_a_task_without_history_are_explained(notebook):
    """One line in place of the button."""
    notebook.run("import ipycron")
    notebook.run("ipycron.schedule('0 0 1 1 *', print, name='private', history=False)")
    card = notebook.page.locator(".icr-card")
    card.get_by_role("button", name="History").click()
    card.get_by_role("button", name="Older runs").click()
    said = "The history of this task is off (history=False)."
    expect(card.locator(".icr-said")).to_have_text(said)


@LAB_FIRST
def test_panel_shows_the_last_day_beside_the_next_hours(notebook):
    """A line for each task, a shape for what happened; opened by a click, kept open."""
    make_report(notebook, "day", ["failed", "finished", "missed"], every=7200)
    notebook.run("ipycron.panel()")
    panel = notebook.page.locator(".icr-panel")
    opener = panel.get_by_role("button", name="Last 24 hours")
    expect(opener).to_have_attribute("aria-expanded", "false")
    opener.focus()
    notebook.page.keyboard.press("Enter")

    line = panel.locator(".icr-day .icr-timeline-line")
    said = "day: 1 finished, 1 failed, 1 missed"
    expect(line).to_have_attribute("aria-label", said)
    kinds = "steps => steps.map((step) => step.dataset.kind)"
    assert line.locator(".icr-step").evaluate_all(kinds) == [
        *("missed", "finished", "failed"),
    ]
    newest = line.locator(".icr-step").last
    assert newest.get_attribute("title").endswith(": 1 failed")
    assert panel.locator(".icr-axis").first.locator("span").count() >= 6
    notebook.run("task.execute().result(20);")
    expect(line).to_have_attribute("aria-label", said.replace("1 fin", "2 fin"))
    notebook.reload()
    expect(line).to_have_attribute("aria-label", said.replace("1 fin", "2 fin"))
    panel.get_by_role("button", name="day", exact=True).last.click()
    expect(panel.locator(".icr-detail .icr-output")).to_have_text("working")


@LAB_FIRST
def test_past_can_be_read_by_everybody(notebook):
    """Axe finds nothing in strips, a past run and the last 24 hours."""
    outcomes = ["failed", "finished", "missed", "stopped", "overlap"] * 20
    make_report(notebook, "all", outcomes)
    notebook.run("ipycron.panel()")
    panel = notebook.page.locator(".icr-panel")
    panel.get_by_role("button", name="Last 24 hours").click()
    panel.locator('.icr-mark[data-kind="failed"]').last.click()
    expect(panel.locator(".icr-trace:visible")).to_contain_text("no <i>luck</i>")
    panel.get_by_role("button", name="Older runs").click()
    expect(panel.locator(".icr-run")).to_have_count(100)
    expect(panel.locator(".icr-step")).not_to_have_count(0)
    faults = []
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        notebook.set_theme(theme)
        notebook.page.wait_for_timeout(500)
        faults += notebook.find_faults(".icr-panel")
    assert faults == []
