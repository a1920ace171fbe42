"""The views' script alone, in a page without Jupyter."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from ipycron.notebook.display.tables import write_html_table
from ipycron.notebook.widgets.assets import read_script

# A model without a kernel: it stores what the script sends; tests send to it.
MODEL = """
function makeModel(state) {
  const listeners = {};
  const values = { kind: "panel", state, ui: {} };
  return {
    sent: [],
    isClosed: false,
    get: (name) => values[name],
    set: (name, value) => { values[name] = value; },
    save_changes: () => {},
    send(message) {
      if (this.isClosed) throw new Error("Cannot send");
      this.sent.push(message);
    },
    on(event, call) { (listeners[event] ??= []).push(call); },
    off() {},
    say(event, ...facts) { for (const call of listeners[event] ?? []) call(...facts); },
  };
}
const NOW = Date.now() / 1000;
const EMPTY = { now: NOW, tasks: [], events: [], opened: null, timeline: null };
function makeStore(state = EMPTY) {
  const model = makeModel(state);
  const store = new Store(model);
  return [store, model];
}
"""

SILENCE = "store.lastMessageAt -= 26000; store.checkSilence()"


@pytest.fixture(scope="session")
def bare_page(browser):
    """A page that has the script's classes as globals."""
    page = browser.new_page()
    script = read_script().replace("export default", "const factory =")
    page.add_script_tag(content=script + MODEL)
    yield page
    page.close()


@pytest.fixture
def write(bare_page):
    """Return a function that writes to a terminal and returns its lines."""

    def run(*writes):
        return bare_page.evaluate(
            """(writes) => {
              const terminal = new Terminal();
              for (const [text, kind] of writes) terminal.write(text, kind);
              terminal.draw();
              return [...terminal.el.children].map((line) => line.textContent);
            }""",
            [w if isinstance(w, tuple) else (w, "stdout") for w in writes],
        )

    return run


@pytest.mark.parametrize(
    ("writes", "lines"),
    [
        (["one\ntwo\n"], ["one", "two"]),
        (["a\n\nb"], ["a", "", "b"]),
        ([" 10%", "\r 20%", "\r100%\n", "done"], ["100%", "done"]),
        (["12345\rab"], ["ab345"]),
        (["12345\r\x1b[Kab"], ["ab"]),
        (["dos\r\nline"], ["dos", "line"]),
        (["abc\b\bX"], ["aXc"]),
        (["a\tb"], ["a       b"]),
        (["one\ntwo\x1b[Aup"], ["oneup", "two"]),
        # Two nested bars of tqdm: down with a new line, up with an escape.
        (["outer 0\ninner 0\r\x1b[A\router 1\n\rinner 1"], ["outer 1", "inner 1"]),
        (["\x1b[31mred\x1b[0m plain"], ["red plain"]),
        (["\x1b[3", "1mred"], ["red"]),
        (["\x1b]0;a title\x07text"], ["text"]),
        (["\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\"], ["link"]),
        (["nul\x00 bell\x07"], ["nul bell"]),
        (["<b>&amp;</b>"], ["<b>&amp;</b>"]),
    ],
)
def test_terminal_shows_what_a_terminal_shows(write, writes, lines):
    """Lines, returns, tabs and cursor moves; escapes are applied or removed."""
    assert write(*writes) == lines


def test_terminal_keeps_a_bar_in_its_place_when_another_stream_writes(write):
    """Output on stdout does not split a progress bar on stderr."""
    lines = write(
        ("  0%", "stderr"),
        ("a line\n", "stdout"),
        ("\r 50%", "stderr"),
        ("another\n", "stdout"),
        ("\r100%\n", "stderr"),
    )

    assert lines == ["100%", "a line", "another"]


@pytest.mark.parametrize(
    ("codes", "style"),
    [
        ("31", "color: var(--icr-ansi1);"),
        ("92", "color: var(--icr-ansi10);"),
        ("38;5;9", "color: var(--icr-ansi9);"),
        ("38;5;196", "color: rgb(255, 0, 0);"),
        ("38;5;244", "color: rgb(128, 128, 128);"),
        ("38;2;1;2;3", "color: rgb(1, 2, 3);"),
        ("48;2;1;2;3", "background-color: rgb(1, 2, 3);"),
        ("7;31", "background-color: var(--icr-ansi1);"),
    ],
)
def test_terminal_paints_the_colours_of_ansi(bare_page, codes, style):
    """Sixteen from the theme, the others as given."""
    painted = bare_page.evaluate(
        """(codes) => {
          const terminal = new Terminal();
          terminal.write(`\\u001b[${codes}mtext`, "stdout");
          terminal.draw();
          return terminal.el.querySelector("span").getAttribute("style");
        }""",
        codes,
    )
    assert painted == style


def test_terminal_keeps_the_newest_lines_when_there_are_many(write):
    """However much arrives, the page keeps two thousand lines."""
    lines = write("".join(f"line {number}\n" for number in range(5000)))

    assert len(lines) == 2000
    assert lines[-1] == "line 4999"


def test_terminal_takes_a_line_without_end(write):
    """A megabyte without a line break does not block the page."""
    (line,) = write("x" * 1_000_000)

    assert len(line) == 10_000


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("formatSpan(0)", "00:00"),
        ("formatSpan(61)", "01:01"),
        ("formatSpan(3599.9)", "59:59"),
        ("formatSpan(3600)", "1:00:00"),
        ("formatSpan(90061)", "1d 01:01:01"),
        ("formatSpan(-5)", "00:00"),
        ("formatDuration(0.0004)", "0 ms"),
        ("formatDuration(0.0994)", "99 ms"),
        ("formatDuration(0.0996)", "0.10 s"),
        ("formatDuration(9.994)", "9.99 s"),
        ("formatDuration(9.996)", "10.0 s"),
        ("formatDuration(59.94)", "59.9 s"),
        ("formatDuration(59.96)", "1 min 00 s"),
        ("formatDuration(3599.6)", "1 h 00 min"),
        ("formatDuration(7290)", "2 h 02 min"),
        ("formatBytes(999)", "999 B"),
        ("formatBytes(12345)", "12 kB"),
        ("formatBytes(2500000)", "2.5 MB"),
        ("formatInstant(0, 'Asia/Tokyo', 10)", "09:00:00"),
        ("formatInstant(0, 'Asia/Tokyo', 10, true)", "09:00"),
        ("formatInstant(0.5, 'No/Where', 10).length", 8),
    ],
)
def test_times_are_written_as_people_read_them(bare_page, call, text):
    """No value skips from 59 to 60, and no unit is missing."""
    assert bare_page.evaluate(call) == text


def test_instants_of_another_day_and_year_say_so(bare_page):
    """Tomorrow has a date, another year has a year."""
    day, year = bare_page.evaluate(
        "[86400, 86400 * 800].map((at) => formatInstant(at, 'UTC', 0))"
    )

    assert "Jan" in day
    assert "1970" not in day
    assert "1972" in year


def test_store_asks_for_everything_when_output_was_missed(bare_page):
    """A page loaded between two messages must not show a gap."""
    sent = bare_page.evaluate(
        """() => {
          const pane = { task: "t", run: { id: "r" }, items: [], start: 0, end: 10 };
          const opened = { task: "t", runs: [], pane };
          const [store, model] = makeStore({ ...EMPTY, opened });
          const news = { type: "output", task: "t", run: { id: "r" }, items: [] };
          model.say("msg:custom", { ...news, start: 10, end: 20, reset: false });
          model.say("msg:custom", { ...news, start: 25, end: 30, reset: false });
          return [store.opened.pane.end, model.sent.map((message) => message.name)];
        }"""
    )
    assert sent == [20, ["hello", "sync"]]


def test_store_adds_no_event_and_no_mark_twice(bare_page):
    """The next message may repeat the contents of a snapshot; old marks may be late."""
    events, marks = bare_page.evaluate(
        """() => {
          const make = (id) => [id, Number(id.slice(1)), 0.1, "finished", 1];
          const tasks = [{ id: "t", marks: [make("r3")] }];
          const events = [{ number: 5 }];
          const [store, model] = makeStore({ ...EMPTY, tasks, events });
          model.say("msg:custom", {
            type: "state",
            now: NOW,
            tasks: [{ id: "t", more: [make("r3"), make("r4"), make("r1")] }],
            events: [{ number: 4 }, { number: 5 }, { number: 6 }],
          });
          const { marks } = store.tasks.get("t");
          return [store.events.map((event) => event.number), marks.map(([id]) => id)];
        }"""
    )
    assert events == [5, 6]
    assert marks == ["r1", "r3", "r4"]


def test_store_says_that_a_click_waits_until_the_kernel_answers(bare_page):
    """After a second without an answer the page says why nothing happens."""
    texts = bare_page.evaluate(
        """async () => {
          const [store, model] = makeStore();
          const texts = [];
          store.send("stop", "t");
          const { id } = model.sent[1];
          texts.push(store.connectionText);
          await new Promise((resolve) => setTimeout(resolve, 1100));
          texts.push(store.connectionText);
          model.say("msg:custom", { type: "ack", id });
          texts.push(store.connectionText);
          model.say("msg:custom", { type: "done", id, error: "StopTimeout: late" });
          texts.push(store.notices[0].text);
          return texts;
        }"""
    )
    assert texts == [
        "",
        "Kernel busy, command queued.",
        "",
        "stop: StopTimeout: late",
    ]


@pytest.mark.parametrize(
    ("happens", "connection"),
    [
        ("model.isClosed = true; store.send('stop', 't')", "gone"),
        ("model.say('comm_live_update')", "restarted"),
        ("model.widget_manager = { kernel: null }; store.checkSilence()", "gone"),
        (SILENCE, "silent"),
        (f"{SILENCE}; model.say('msg:custom', {{ type: 'beat', now: NOW }})", "live"),
    ],
)
def test_store_knows_when_the_kernel_is_no_more(bare_page, happens, connection):
    """A closed connection, a restart, a shutdown and silence are told apart."""
    found = bare_page.evaluate(
        "() => { const [store, model] = makeStore(); "
        f"{happens}; return store.connection; }}"
    )
    assert found == connection


def test_clock_follows_the_kernel_where_the_browser_is_wrong(bare_page):
    """Countdowns are right even if the browser's clock is an hour off."""
    offset = bare_page.evaluate(
        """() => {
          const clock = new Clock();
          clock.adjust(Date.now() / 1000 + 3600);
          clock.adjust(Date.now() / 1000 + 3599.7); // a message that was slow
          return clock.now() - Date.now() / 1000;
        }"""
    )
    # Some steps of the script lie in between, however long: less than was slow.
    assert offset == pytest.approx(3600, abs=0.25)


@pytest.mark.parametrize(
    ("status", "last", "trouble", "shown"),
    [
        ("idle", "failed", None, ["failing", True]),
        ("idle", "finished", None, ["idle", False]),
        ("running", "failed", None, ["running", True]),
        ("stopping", "failed", None, ["stopping", False]),
        ("stopped", "failed", None, ["stopped", False]),
        ("stopped", None, "ImportError: no", ["failing", True]),
        ("starting", None, "ImportError: no", ["starting", False]),
        ("destroyed", "failed", "ImportError: no", ["destroyed", False]),
    ],
)
def test_status_and_filter_agree_on_what_is_failing(
    bare_page, status, last, trouble, shown
):
    """A task that was stopped is stopped; one that could not be started is failing."""
    task = {
        "id": "t",
        "name": "it",
        "status": status,
        "running": [],
        "trouble": trouble,
        "last": last and {"state": last},
    }
    found = bare_page.evaluate(
        """(task) => {
          const summary = describeTasks([task]);
          const isStopped = findStatus(task) === "stopped";
          if (summary.includes("stopped") !== isStopped) return summary;
          return [findStatus(task), isFailing(task)];
        }""",
        task,
    )
    assert found == shown
    is_found = [
        bare_page.evaluate("([task, word]) => matches(task, word)", [task, word])
        for word in (shown[0], "failing", "failed")
    ]
    assert is_found == [True, shown[1], shown[1] or last == "failed"]


@pytest.mark.parametrize(
    ("status", "shown"),
    [("idle", "paused"), ("running", "running"), ("stopped", "stopped")],
)
def test_paused_task_is_paused_where_it_is_idle(bare_page, status, shown):
    """It is not failing, whatever its last run did: nothing will run for now."""
    found = bare_page.evaluate(
        """(status) => {
          const pause = { until: 1900000000, note: "down" };
          const last = { state: "failed" };
          const task = { id: "t", name: "it", zone: "UTC", status, pause, last };
          task.running = [];
          return [findStatus(task), describePause(task, 0), isFailing(task)];
        }""",
        status,
    )
    assert found[0] == shown
    assert found[1].startswith("paused until ")
    assert found[1].endswith(" (down)")
    assert found[2] == (status == "running")


RETRIED = {"state": "running", "summary": "ValueError: no", "attempt": 2, "next": 160}
SNOOZED = {**RETRIED, "summary": ""}
BEGUN = {**RETRIED, "next": 90}


@pytest.mark.parametrize(
    ("running", "queued", "now", "shown"),
    [
        ([RETRIED], 0, 100, ["retrying", "retrying", "attempt 2 in 01:00"]),
        ([RETRIED], 2, 160, ["running", "running", "running 01:10, attempt 2"]),
        ([SNOOZED], 0, 100, ["snoozed", "snoozed", "again in 01:00"]),
        ([SNOOZED, RETRIED], 0, 100, ["retrying", "retrying", "attempt 2 in 01:00"]),
        (
            *([RETRIED, BEGUN], 0, 100),
            ["running", "2 running", "running 00:10, attempt 2"],
        ),
        ([], 1, 100, ["queued", "queued", None]),
        ([], 3, 100, ["queued", "3 queued", None]),
    ],
)
def test_status_says_what_all_runs_of_a_task_wait_for(
    bare_page, running, queued, now, shown
):
    """Retrying or snoozed only while nothing is in progress, by the clock."""
    found = bare_page.evaluate(
        """([running, queued, now]) => {
          const status = running.length ? "running" : "idle";
          const runs = running.map((run) => ({ started: 90, ...run }));
          const task = { id: "t", name: "it", status, running: runs, queued };
          const shown = findStatus(task, now);
          const newest = runs[runs.length - 1];
          const said = newest ? describeProgress(newest, now) : null;
          return [shown, describeStatus(task, shown), said];
        }""",
        [running, queued, now],
    )
    assert found == shown


@pytest.mark.parametrize(
    ("libraries", "folded"),
    [
        ([["", "json"], ["json", "json"]], ["1 frame in json", "2 frames in json"]),
        ([["json"], ["http", ""]], ["1 frame in json", "1 frame in http"]),
        ([["json"], ["http"]], []),
    ],
)
def test_traceback_folds_libraries_if_any_of_its_errors_has_other_frames(
    bare_page, libraries, folded
):
    """A cause inside a library, as pandas' KeyErrors have, is not shown at length."""
    found = bare_page.evaluate(
        """(libraries) => {
          const errors = libraries.map((frames) => ({
            title: [0, 1], frames: frames.map((library) => [0, 1, library]),
          }));
          const drawn = h("div", {}, ...drawErrors(["a line"], errors));
          const folds = drawn.querySelectorAll("details > summary");
          return [...folds].map((fold) => fold.textContent);
        }""",
        libraries,
    )
    assert found == folded


def test_ids_are_made_where_the_browser_offers_none(bare_page):
    """Pages served by plain http have no `crypto.randomUUID`."""
    ids = bare_page.evaluate(
        """() => {
          const keep = crypto.randomUUID;
          crypto.randomUUID = undefined;
          const ids = [makeId(), makeId()];
          crypto.randomUUID = keep;
          return ids;
        }"""
    )
    assert ids[0] != ids[1]
    assert all(len(made) > 10 for made in ids)


def test_pane_says_that_the_first_run_has_printed_nothing_yet(bare_page):
    """Before the first run the text in the empty pane is different."""
    texts = bare_page.evaluate(
        """() => {
          const pane = new Pane(makeStore()[0]);
          const texts = [];
          const note = () => texts.push(pane.empty.hidden || pane.empty.textContent);
          pane.showWhole(null);
          note();
          pane.take({ run: { state: "running" }, items: [], reset: true });
          note();
          pane.take({ run: { state: "finished" }, items: [], reset: false });
          note();
          return texts;
        }"""
    )
    assert texts == ["No run yet.", "No output yet.", "No output."]


def test_pane_that_is_held_copies_and_names_the_run_that_it_shows(bare_page):
    """While text is selected, the newest run may be another one."""
    found = bare_page.evaluate(
        """() => {
          const [store] = makeStore();
          const pane = new Pane(store);
          document.body.append(pane.el);
          const show = (id, text) => {
            const news = { run: { id, state: "finished" }, items: [["stdout", text]] };
            store.opened = { task: "t", runs: [], pane: news };
            pane.take({ ...news, reset: true });
            pane.terminal.draw();
            return [pane.findShown(news).id, pane.plain, pane.body.textContent];
          };
          const seen = [show("a", "old")];
          getSelection().selectAllChildren(pane.body);
          seen.push(show("b", "new"));
          pane.showWhole(null); // of another task, which has not run
          seen.push([pane.findShown(null), pane.plain, pane.body.textContent]);
          show("a", "old");
          getSelection().selectAllChildren(pane.body);
          show("b", "new");
          getSelection().removeAllRanges();
          pane.takeSelection();
          pane.terminal.draw();
          const { id } = pane.findShown(store.opened.pane);
          seen.push([id, pane.plain, pane.body.textContent]);
          pane.el.remove();
          return seen;
        }"""
    )
    assert found == [
        ["a", "old", "old"],
        ["a", "old", "old"],
        [None, "", ""],
        ["b", "new", "new"],
    ]


def test_store_of_a_saved_view_is_gone_from_the_beginning(bare_page):
    """Without a kernel it neither counts down nor offers buttons."""
    lines = bare_page.evaluate(
        "() => [true, false]"
        ".map((saved) => new Store(makeModel(EMPTY), saved).connection)"
    )
    assert lines == ["gone", "live"]


def test_saved_tables_are_no_wider_than_their_page(browser):
    """An error may be one word of a thousand letters."""
    page = browser.new_page(viewport={"width": 800, "height": 600})
    page.set_content(write_html_table(("name", "last run"), [("it", "q" * 1000)]))
    widths = page.evaluate(
        """() => [document.documentElement.scrollWidth,
                  document.querySelector("td").offsetHeight]"""
    )
    page.close()
    assert widths[0] <= 800
    assert widths[1] > 30  # it is wrapped, not cut


@pytest.fixture
def strip(bare_page):
    """A strip of six marks in the page; returns what it has picked."""
    bare_page.evaluate(
        """() => {
          document.body.replaceChildren();
          window.picked = [];
          window.strip = new Strip((run) => picked.push(run));
          const all = ["finished", "timed_out", "stopped", "missed", "paused", "new"];
          const times = [2.1, 2.1, 2.1, null, null, null];
          const make = (outcome, n) => [`r${n}`, NOW - 9 + n, times[n], outcome, 1];
          window.marks = all.map(make);
          marks[3][4] = 120;
          strip.draw({ name: "report", zone: "UTC", marks }, NOW);
          document.body.append(strip.el);
        }"""
    )
    return bare_page


def test_strip_names_its_marks_and_gives_each_kind_a_shape(strip):
    """Not the colour alone: a word for who hears it, a shape for who sees it."""
    kinds, labels, group = strip.evaluate(
        """() => [
          [...strip.el.children].map((mark) => mark.dataset.kind),
          [...strip.el.children].map((mark) => mark.getAttribute("aria-label")),
          strip.el.getAttribute("aria-label"),
        ]"""
    )
    assert kinds == ["finished", "failed", "stopped", "missed", "skipped", "skipped"]
    time = r", (?:\S+ \S+ )?\d\d:\d\d:\d\d"
    for label, pattern in zip(
        labels,
        (
            f"finished{time}, 2.10 s",
            f"timed out{time}, 2.10 s",
            f"stopped{time}, 2.10 s",
            f"missed 120 slots{time}",
            f"paused{time}",
            f"new{time}",
        ),
        strict=True,
    ):
        assert re.fullmatch(pattern, label), label
    assert group == "Last 6 of report: 1 failed, 1 missed"


def test_strip_is_one_stop_of_the_tab_key_and_walked_with_arrows(strip):
    """Twenty marks a task would be in the way of who wants to the next one."""
    get = "() => [...strip.el.children].map((mark) => mark.tabIndex)"
    assert strip.evaluate(get) == [-1, -1, -1, -1, -1, 0]
    strip.locator(".icr-mark").last.focus()
    for key in ("ArrowLeft", "ArrowLeft", "Enter", "Home", "ArrowLeft", "Enter"):
        strip.keyboard.press(key)
    assert strip.evaluate("() => picked") == ["r3", "r0"]
    assert strip.evaluate(get) == [0, -1, -1, -1, -1, -1]


def test_strip_keeps_the_focus_when_runs_end(strip):
    """New marks push old ones out; who reads one is not thrown out of the strip."""
    strip.locator(".icr-mark").first.focus()
    names = strip.evaluate(
        """() => {
          const old = strip.el.children[2];
          const fresh = [...marks.slice(1), ["r9", NOW, 9, "finished", 1]];
          strip.draw({ name: "report", zone: "UTC", marks: fresh }, NOW);
          const { mark } = document.activeElement;
          return [strip.el.children[1] === old, mark[0], strip.el.children.length];
        }"""
    )
    assert names == [True, "r1", 6]


EVENING = datetime(2026, 11, 30, 23, 59, 58, tzinfo=UTC).timestamp()
RUN = {"id": "r", "state": "finished", "started": EVENING, "date": EVENING}
RUN |= {"duration": 1, "summary": "42", "reason": "scheduled", "slots": 1}
KINDS = "finished", "failed", "stopped", "replaced", "cancelled", "missed", "skipped"
TASK = {"id": "t", "name": "it", "zone": "UTC", "pattern": "0 9 * * *", "last": RUN}
TASK |= {"words": "At 09:00", "status": "idle", "place": "inline", "queued": 0}
TASK |= {"fires": [], "running": [], "waits": [], "counts": dict.fromkeys(KINDS, 0)}
TASK |= {"marks": [("r", EVENING, 1, "finished", 1)]}
EVENT = {"number": 1, "event": "execution:finished", "task": "t", "run": "r"}
EVENT |= {"name": "it", "at": EVENING, "date": EVENING, "duration": 1, "summary": "42"}


def test_what_was_today_has_its_date_when_the_day_is_over(bare_page):
    """A panel stays open overnight; then its marks, runs and events are of two days."""
    opened = {"task": "t", "runs": [RUN], "pane": None}
    state = {"now": EVENING, "tasks": [TASK], "events": [EVENT], "opened": opened}
    today, tomorrow = bare_page.evaluate(
        """(state) => {
          const [store] = makeStore(state);
          store.setUi({ events: true, open: "t" });
          const el = document.body.appendChild(document.createElement("div"));
          const stop = renderPanel(store, el);
          const read = () => {
            const mark = el.querySelector(".icr-row .icr-mark");
            mark.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
            const times = [".icr-run .icr-number", ".icr-event .icr-number"];
            const texts = times.map((time) => el.querySelector(time).textContent);
            return [mark.title.split(", ")[1], ...texts];
          };
          const today = read();
          store.clock.offset += 3;
          for (const listener of store.clock.listeners) listener();
          const tomorrow = read();
          stop();
          el.remove();
          return [today, tomorrow];
        }""",
        state,
    )
    assert today == ["23:59:58"] * 3
    assert all(re.fullmatch(r"\S+ \S+ 23:59:58", text) for text in tomorrow), tomorrow
