"""Attempts, queues, replaced and excluded runs, as they are seen on the page."""

from __future__ import annotations

import re

import pytest
from front_ends import LAB_FIRST
from playwright.sync_api import expect

TASKS = """
import time
import ipycron
from ipycron import Cancel, Retry, Snooze
ipycron.set_pool("gpu", 1)
def fetch(ctx):
    print("asking, attempt", ctx.attempt)
    raise ConnectionError(f"no <b>answer</b> to attempt {ctx.attempt}")
def train():
    print("training")
    time.sleep(600)
def settle():
    raise Cancel("no statement this month")
def put_off():
    raise Snooze(3600)
def make(name, job, count=1, **options):
    # Nothing waits for longer than until the next slot; a year may end in an hour.
    when = ipycron.at("2999-12-01 09:00")
    task = ipycron.schedule(when, job, background=True, name=name, **options)
    task.start().result(30)
    return [task.execute() for _ in range(count)]
"""
WAITING = f"""{TASKS}
calls = [
    make("retried", fetch, retry=Retry(2, delay=900)),
    make("put off", put_off),
    make("holder", train, pool="gpu"),
    make("waiter", train, pool="gpu"),
    make("in line", train, count=3, overlap="queue"),
]
"""
DUE = f"""{TASKS}
import pathlib, tempfile
first = pathlib.Path(tempfile.mkdtemp()) / "first"
def ask(ctx):
    print("asking, attempt", ctx.attempt)
    while ctx.attempt == 1:
        if first.exists():
            raise ConnectionError("no answer")
        time.sleep(0.01)
    time.sleep(600)
calls = [make("due", ask, pool="gpu", retry=Retry(2, delay=0.01))]
due = ipycron.get_task("due")
while not due.running:
    time.sleep(0.01)
calls.append(make("holder", train, pool="gpu"))
holder = ipycron.get_task("holder")
while not holder.queued:
    time.sleep(0.01)
first.touch()
while not due.queued:
    time.sleep(0.01)
"""
ENDED = f"""{TASKS}
calls = make("tried", fetch, retry=Retry(2, delay=0.01))
calls += make("settled", settle)
calls += make("newer", train, overlap="replace")
newer = ipycron.get_task("newer")
while not newer.running:
    time.sleep(0.01)
calls.append(newer.execute())
calls[0].exception(30), calls[1].result(30), calls[2].exception(30)
"""
TRIGGERS = """
import datetime, ipycron
def tick():
    print("tick")
def make(when, name, **options):
    options = dict(background=True, timezone="UTC", name=name, **options)
    return ipycron.schedule(when, tick, **options)
now = datetime.datetime.now(datetime.UTC)
days = [now + datetime.timedelta(days=days) for days in (0, 1)]
closed = f"{days[0]:%F}..{days[1]:%F}"
make("* * * * * *", "closed", exclude=closed, on_excluded="next")
make("@every 90s", "ninety")
make("RRULE:FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=9", "payday")
make("0 9 * * mon-fri | @every 2h", "either")
over = make(ipycron.at(now + datetime.timedelta(seconds=2)), "over")
over
"""


def get_row(notebook, name):
    """Return a task's row in the panel."""
    return notebook.page.locator(".icr-panel .icr-row").filter(
        has=notebook.page.locator(".icr-name", has_text=re.compile(f"^{name}$"))
    )


def open_row(notebook, name):
    """Open a task's detail; return it."""
    get_row(notebook, name).locator(".icr-opener").click()
    return notebook.page.locator(".icr-detail")


def read_icons(rows):
    """Return the icons of each row's status: a shape for each word."""
    icon = "nodes => nodes.map((node) => node.dataset.icon)"
    return rows.locator(".icr-status > .icr-holder").evaluate_all(icon)


@LAB_FIRST
def test_panel_says_what_runs_wait_for(notebook):
    """In words and shapes: another attempt, a later time, a place, a turn."""
    notebook.run(WAITING)
    notebook.run("ipycron.panel()")
    panel = notebook.page.locator(".icr-panel")
    rows = panel.locator(".icr-row")
    words = ["retrying", "snoozed", "running", "queued", "running"]
    expect(rows.locator(".icr-status")).to_have_text(words)
    assert read_icons(rows) == words
    expect(rows.locator(".icr-queued:visible")).to_have_text(["2 queued"])
    expect(panel.locator(".icr-top")).to_contain_text(
        "5 tasks · 2 running · 1 retrying · 1 snoozed · 1 queued"
    )
    # A countdown, with the instant and the number of the attempt.
    last = get_row(notebook, "retried").locator(".icr-last")
    expect(last).to_have_text(re.compile(r"^in 1[0-6]:\d\dattempt 2$"))
    expect(last).to_have_attribute(
        "title", re.compile(r"^attempt 2 in 1[0-6]:\d\d, at .*\d\d:\d\d:\d\d$")
    )
    before = last.inner_text()
    expect(last).not_to_have_text(before)
    snoozed = get_row(notebook, "put off").locator(".icr-last")
    expect(snoozed).to_have_text(re.compile(r"^in (59:\d\d|5\d:\d\d|1:00:00)$"))
    expect(get_row(notebook, "retried")).to_contain_text("no <b>answer</b>")

    detail = open_row(notebook, "in line")
    runs = detail.locator(".icr-run")
    expect(runs).to_contain_text(["queued", "queued", "running"])
    expect(detail.locator(".icr-output")).to_have_text("training")
    runs.first.click()
    expect(detail.locator(".icr-runhead")).to_contain_text("run now, queued")
    expect(detail.locator(".icr-empty:visible")).to_have_text("No output yet.")
    expect(runs.first).to_have_attribute("aria-selected", "true")
    # A snooze is no problem, and what waits for its turn is none.
    panel.get_by_label("Problems only").check()
    events = panel.locator(".icr-event")
    expect(events).to_contain_text(["an attempt failed: ConnectionError: no <b>"])
    panel.get_by_role("searchbox").fill("retrying")
    expect(rows.locator(".icr-name")).to_have_text(["retried"])


@LAB_FIRST
def test_attempt_that_waits_for_a_place_is_queued(notebook):
    """In row, list and head, with its output; then it runs."""
    notebook.run(DUE)
    notebook.run("ipycron.panel()")
    row = get_row(notebook, "due")
    expect(row.locator(".icr-status")).to_have_text("queued")
    assert read_icons(row) == ["queued"]
    expect(row).to_contain_text("ConnectionError: no answer")
    panel = notebook.page.locator(".icr-panel")
    expect(panel.locator(".icr-top")).to_contain_text("2 tasks · 1 running · 1 queued")
    detail = open_row(notebook, "due")
    expect(detail.locator(".icr-run")).to_contain_text(["queued"])
    head = detail.locator(".icr-runhead")
    expect(head).to_contain_text(re.compile(r"run now, queued .+, attempt 2"))
    expect(detail.locator(".icr-output")).to_have_text("asking, attempt 1")
    events = panel.locator(".icr-event").filter(has_text="due")
    expect(events.filter(has_text="waits for its turn").first).to_be_visible()
    notebook.run("ipycron.set_pool('gpu', 2)")
    expect(row.locator(".icr-status")).to_have_text("running")
    expect(head).to_contain_text(re.compile(r"run now, running .+, attempt 2"))
    expect(detail.locator(".icr-output")).to_contain_text("asking, attempt 2")


@LAB_FIRST
def test_buttons_work_on_what_waits(notebook):
    """By keys: another run in the queue, and the end of an attempt that waits."""
    notebook.run(WAITING)
    notebook.run("ipycron.panel()")
    expect(get_row(notebook, "waiter").locator(".icr-status")).to_have_text("queued")
    get_row(notebook, "waiter").get_by_role("button", name="Run now").focus()
    notebook.page.keyboard.press("Enter")
    expect(get_row(notebook, "waiter").locator(".icr-status")).to_have_text("2 queued")

    detail = open_row(notebook, "retried")
    head = detail.locator(".icr-runhead")
    expect(head).to_contain_text(re.compile(r"run now, attempt 2 in 1[0-6]:\d\d"))
    get_row(notebook, "retried").get_by_role("button", name="Stop").focus()
    notebook.page.keyboard.press(" ")
    expect(get_row(notebook, "retried").locator(".icr-status")).to_have_text("stopped")
    expect(head).to_contain_text("failed after")
    expect(head).to_contain_text("no <b>answer</b> to attempt 1")
    expect(detail.locator(".icr-output")).to_have_text("asking, attempt 1")

    # What held the place ends: the first of those that wait has it.
    get_row(notebook, "holder").get_by_role("button", name="Destroy").click()
    get_row(notebook, "holder").locator(".icr-ask").get_by_role(
        "button", name="Destroy"
    ).click()
    stop = get_row(notebook, "holder").get_by_role("button", name="Stop now")
    stop.click()
    waiter = get_row(notebook, "waiter")
    expect(waiter.locator(".icr-status")).to_have_text("running")
    expect(waiter.locator(".icr-queued:visible")).to_have_text("1 queued")


@LAB_FIRST
def test_lists_say_how_runs_ended(notebook):
    """Replaced, cancelled, failed after so many attempts: a word for each."""
    notebook.run(ENDED)
    notebook.run("ipycron.panel()")
    panel = notebook.page.locator(".icr-panel")
    for name, item, head, mark in (
        ("tried", "3 attempts", r"failed after .+, 3 attempts", "failed"),
        ("settled", "cancelled", r"cancelled after .*no statement this", "cancelled"),
        ("newer", "replaced", r"replaced after", "replaced"),
    ):
        detail = open_row(notebook, name)
        run = detail.locator(".icr-run").last
        expect(run).to_contain_text(item)
        run.click()
        expect(detail.locator(".icr-runhead")).to_have_text(re.compile(head))
        strip = get_row(notebook, name).locator(".icr-mark").last
        expect(strip).to_have_accessible_name(re.compile(f"^{mark}, "))
        expect(get_row(notebook, name).locator(".icr-counts")).to_have_text(f"1 {mark}")
        get_row(notebook, name).locator(".icr-opener").click()
    # The mark of a past run opens it beside one that is in progress, too.
    notebook.run("newer")
    card = notebook.page.locator(".icr-card")
    expect(card.locator(".icr-how")).to_contain_text("running")
    card.locator(".icr-mark").last.click()
    expect(card.locator(".icr-how")).to_contain_text("replaced after")
    panel.get_by_role("button", name="Last 24 hours").click()
    for name, said in (("tried", "1 failed"), ("settled", "1 ended early")):
        line = panel.locator(".icr-day .icr-timeline-row").filter(has_text=name)
        expect(line.get_by_role("img")).to_have_accessible_name(f"{name}: {said}")


@LAB_FIRST
def test_panel_says_what_is_excluded_and_how_others_are_due(notebook):
    """Excluded slots are seen and no problem; every kind of trigger has its words."""
    notebook.run(TRIGGERS)
    card = notebook.page.locator(".icr-card")
    expect(card.locator(".icr-status")).to_have_text("destroyed")
    expect(card.locator(".icr-countdown")).to_have_text("not scheduled")
    expect(card.locator(".icr-counts")).to_have_text("1 ok")
    notebook.run("ipycron.panel()")
    panel = notebook.page.locator(".icr-panel")
    rows = panel.locator(".icr-row")
    expect(rows.locator(".icr-name")).to_have_text(
        ["closed", "ninety", "payday", "either"]
    )
    expect(rows.locator(".icr-pattern + .icr-small")).to_have_text(
        [
            re.compile("^Every second, except .*, then as soon as possible$"),
            "Every 90 seconds",
            "Every month on the last Friday at 09:00",
            "At 09:00, Monday through Friday; or every 2 hours",
        ]
    )
    closed = get_row(notebook, "closed")
    expect(closed.locator(".icr-countdown")).to_have_text(re.compile(r"^(1d )?\d+:"))
    expect(closed.locator(".icr-counts")).to_have_text(re.compile(r"^\d+ skipped$"))
    expect(closed.locator('.icr-mark[data-kind="skipped"]').last).to_be_visible()
    mark = closed.locator(".icr-mark").last
    mark.click()
    detail = notebook.page.locator(".icr-detail")
    expect(detail.locator(".icr-how")).to_have_text("excluded")
    events = panel.locator(".icr-event").filter(has_text="closed")
    expect(events.first).to_contain_text("excluded: skipped the slot of")
    panel.get_by_label("Problems only").check()
    expect(events).to_have_count(0)


@LAB_FIRST
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("every 90x", "90x"),
        ("at yesterday", "yesterday"),
        ("@hourly --retry many", "many"),
        ("@hourly --exclude someday", "got 'someday', expected text such as 'sat,sun'"),
        ("@hourly --overlap maybe", "maybe"),
    ],
)
def test_mistake_in_a_line_is_said_below_its_cell(notebook, line, said):
    """In one line, with what was typed, and there is no task."""
    notebook.run(f"%%cron {line} --name mistaken\n1")
    output = notebook.page.locator(".jp-OutputArea-output").last
    expect(output).to_contain_text("UsageError")
    expect(output).to_contain_text(said)
    assert output.inner_text().strip().count("\n") <= 3
    notebook.run("print('tasks:', list(ipycron.get_tasks()))")
    expect(output).to_have_text("tasks: []")


@LAB_FIRST
def test_what_waits_can_be_read_by_everybody(notebook):
    """Axe finds nothing: names, roles, contrast."""
    notebook.run(WAITING)
    notebook.run("display(ipycron.get_task('retried'), ipycron.panel())")
    detail = open_row(notebook, "in line")
    expect(detail.locator(".icr-run")).to_have_count(3)
    card = notebook.page.locator(".icr-card")
    card.get_by_role("button", name="History").click()
    expect(card.locator(".icr-run")).to_contain_text(["retrying"])
    faults = []
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        notebook.set_theme(theme)
        notebook.page.wait_for_timeout(500)
        faults += notebook.find_faults(".icr-card", ".icr-panel")
    assert faults == []
