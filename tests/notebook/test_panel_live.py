"""Views follow their tasks by themselves, and limit what they send."""

from __future__ import annotations

import itertools
import json
import threading
import time
from functools import partial

import comm
import pytest
from house import submit_to_client
from ipywidgets import Widget
from ipywidgets.embed import dependency_state
from polling import eventually
from recording_comm import RecordingComm, click, wait_for_end

from ipycron.api import functions as api
from ipycron.client.registry import registry
from ipycron.notebook.display.feed import BYTES_PER_SECOND, Feed
from ipycron.notebook.widgets import page
from ipycron.notebook.widgets.assets import Assets, read_loader, read_script, read_style
from ipycron.notebook.widgets.card import MAX_ENDED, Cards, make_card
from ipycron.notebook.widgets.overview import panel
from ipycron.process.shell.displays import WIDGET_VIEW
from ipycron.process.wire.displays import DisplayData, pack_display
from ipycron.process.wire.payload import Payload
from ipycron.process.wire.protocol import Displayed, Streamed
from ipycron.scheduling.admission import MAX_QUEUED
from ipycron.scheduling.events import Event, Notice, Outcome, ScheduledExecution, Status

DEADLINE = 20.0
YEARLY = "0 0 1 1 *"


@pytest.fixture(autouse=True)
def recording(monkeypatch):
    """Have widgets send to a record; end tasks, views and their thread afterwards."""
    monkeypatch.setattr(comm, "create_comm", RecordingComm)
    monkeypatch.setattr(registry, "_singles", {})
    yield
    api.shutdown()
    feed = registry.get_single(Feed)
    for view in tuple(feed._views):
        view.close()


def make_task(function=lambda: None, **options):
    """Return a started inline task that is never due during a test."""
    task = api.create_task(YEARLY, function, **options)
    task.start().result(DEADLINE)
    return task


# --- following ----------------------------------------------------------------------


def test_panel_tells_of_a_task_that_is_made_later():
    """Without a refresh."""
    view = panel()
    task = make_task(name="later")

    rows = eventually(
        lambda: [r for _, m in view.comm.find("state") for r in m.get("tasks", ())]
    )
    assert [(row["id"], row["name"]) for row in rows[:1]] == [(task.id, "later")]


def test_panel_tells_that_a_task_is_gone():
    """A destroyed task is removed from the table."""
    task = make_task()
    view = panel()
    eventually(lambda: view.comm.find("state"))
    task.destroy().result(DEADLINE)

    gone = eventually(lambda: [m for _, m in view.comm.find("state") if "gone" in m])
    assert gone[0]["gone"] == [task.id]


def test_panel_tells_of_events_once_each():
    """A page's log never shows an event twice."""
    view = panel()
    task = make_task()
    task.execute().result(DEADLINE)

    def find():
        events = [e for _, m in view.comm.find("state") for e in m.get("events", [])]
        return events if any(e["event"] == "execution:finished" for e in events) else []

    numbers = [event["number"] for event in eventually(find)]
    assert numbers == sorted(set(numbers))


def test_card_sends_the_output_of_a_run_that_fails():
    """A worker's output is sent as items, its traceback at the run's end."""

    def fail():
        print("before")  # noqa: T201 - what is tested
        raise ValueError("no")

    task = api.schedule(YEARLY, fail, background=True)
    view = make_card(task)
    task.execute().exception(DEADLINE)

    def find():
        return [m for _, m in view.comm.find("output") if m["run"]["state"] == "failed"]

    ended = eventually(find)[-1]
    messages = [message for _, message in view.comm.find("output")]
    texts = [item for message in messages for item in message["items"]]
    assert "".join(text for _, text in texts) == "before\n"
    assert "ValueError: no" in ended["run"]["traceback"]
    assert messages[0]["reset"] is True
    for before, after in itertools.pairwise(messages):
        assert after["reset"] or after["start"] == before["end"]


def test_card_shows_why_a_task_did_not_start(tmp_path):
    """A failed start has no run: the card shows it nevertheless."""
    path = tmp_path / "broken.py"
    path.write_text("import nonsense_that_is_not_there\ndef task(): ...\n")
    task = api.create_task(YEARLY, path)
    view = make_card(task)
    task.start().exception(DEADLINE)

    def find():
        rows = [r for _, m in view.comm.find("state") for r in m.get("tasks", [])]
        return [row["trouble"] for row in rows if row.get("trouble")]

    said = "did not start: ModuleNotFoundError: No module named"
    assert eventually(find)[-1].startswith(said)


def test_view_makes_its_snapshot_when_a_page_asks_for_it():
    """A reloaded page gets the current state, not the initial one."""
    view = panel()
    make_task(name="new")

    state = view.get_state()["state"]

    assert [row["name"] for row in state["tasks"]] == ["new"]


def test_view_snapshot_holds_the_output_that_was_sent():
    """A reloaded page shows the whole output, then continues."""
    task = api.schedule(YEARLY, partial(print, "hello"), background=True)
    view = make_card(task)
    task.execute().result(DEADLINE)
    eventually(
        lambda: [
            m for _, m in view.comm.find("output") if m["run"]["state"] == "finished"
        ]
    )

    pane = eventually(lambda: view.get_state()["state"]["opened"]["pane"])

    assert pane["items"] == [("stdout", "hello\n")]
    assert (pane["start"], pane["end"], pane["reset"]) == (0, 6, True)


def test_panel_follows_the_row_that_is_opened():
    """The trait that the browser sets decides whose runs are sent."""
    tasks = [make_task(name=name) for name in ("a", "b")]
    for task in tasks:
        task.execute().result(DEADLINE)
    view = panel()
    assert view.get_state()["state"]["opened"] is None
    view.set_state({"ui": {"open": tasks[1].id}})

    runs = eventually(
        lambda: [m["runs"] for _, m in view.comm.find("state") if "runs" in m]
    )
    assert runs[0]["task"] == tasks[1].id
    assert len(runs[0]["runs"]) == 1
    assert view.get_state()["state"]["opened"]["task"] == tasks[1].id


def test_panels_are_two_with_states_of_their_own():
    """A row opened in one panel is not opened in the other."""
    task = make_task()
    one, two = panel(), panel()
    one.set_state({"ui": {"open": task.id}})

    assert one.get_state()["state"]["opened"] is not None
    assert two.get_state()["state"]["opened"] is None
    make_task(name="both")
    for view in (one, two):
        eventually(lambda view=view: view.comm.find("state"))


def test_card_of_a_task_is_one_model_wherever_it_is_shown():
    """Two outputs share one connection to the kernel."""
    task = make_task()

    assert make_card(task) is make_card(task)


def test_card_rests_when_its_task_is_destroyed_and_answers_still():
    """The feed drops it; a reloaded page still gets its final state."""
    task = make_task()
    view = make_card(task)
    feed = registry.get_single(Feed)
    task.destroy().result(DEADLINE)

    eventually(lambda: view not in feed._views)
    click(view, "sync")
    whole = eventually(lambda: view.comm.find("whole"))
    assert whole[0][1]["state"]["tasks"][0]["status"] == "destroyed"
    eventually(lambda: view not in feed._views)


def test_cards_of_ended_tasks_are_closed_when_there_are_many():
    """Running a cell a thousand times does not keep a thousand widgets."""
    cards = []
    for _ in range(MAX_ENDED + 3):
        task = make_task()
        cards.append(make_card(task))
        task.destroy().result(DEADLINE)

    assert [card.comm is None for card in cards] == [True] * 2 + [False] * (
        MAX_ENDED + 1
    )
    assert len(registry.get_single(Cards)._cards) == MAX_ENDED + 1


def test_panel_shows_no_next_hours_of_a_paused_task():
    """Its line is back when it is resumed."""
    task = api.create_task("* * * * *", lambda: None)
    task.start().result(30)
    view = panel()
    view.ui = {**view.ui, "timeline": True}
    now = registry.client.clock.now()
    assert view._make_timeline(now)["marks"][task.id]
    task.pause().result(30)
    assert view._make_timeline(now)["marks"] == {}
    task.pause(1800).result(30)
    first = view._make_timeline(now)["marks"][task.id][0]
    offset = first if isinstance(first, int) else first[0]
    assert offset >= 1800 - 60
    task.resume().result(30)
    assert view._make_timeline(now)["marks"][task.id]


# --- commands -----------------------------------------------------------------------


def test_command_is_acknowledged_and_done():
    """A click is acknowledged at once, and its outcome is sent."""
    task = make_task()
    view = make_card(task)
    stop = click(view, "stop", task.id)

    assert wait_for_end(view, stop) is None
    assert [m["id"] for _, m in view.comm.find("ack")] == [stop]
    assert task.status == "stopped"
    assert wait_for_end(view, click(view, "start", task.id)) is None
    assert task.status == "idle"
    assert wait_for_end(view, click(view, "pause", task.id)) is None
    assert task.is_paused
    assert wait_for_end(view, click(view, "resume", task.id)) is None
    assert not task.is_paused
    assert wait_for_end(view, click(view, "run", task.id)) is None
    assert len(task.history) == 1
    assert wait_for_end(view, click(view, "destroy", task.id)) is None
    assert task.status == "destroyed"


@pytest.mark.parametrize(
    ("name", "wants_task", "text"),
    [
        ("run", True, "TaskNotStarted: task 'off' is stopped. Start it with %cron"),
        ("run", False, "this task is gone"),
        ("explode", True, "'explode' is not a command"),
        ("__class__", True, "'__class__' is not a command"),
    ],
)
def test_command_that_cannot_be_is_refused(name, wants_task, text):
    """The page shows why nothing happened."""
    task = api.create_task(YEARLY, lambda: None, name="off")
    view = panel()

    error = wait_for_end(view, click(view, name, task.id if wants_task else "nobody"))

    assert error.startswith(text)


def test_command_run_is_refused_when_the_queue_is_full():
    """The page says so: there is no run that could show it."""
    gate = threading.Event()
    task = make_task(gate.wait, overlap="queue", name="full")
    calls = [task.execute() for _ in range(MAX_QUEUED + 1)]
    view = make_card(task)
    error = wait_for_end(view, click(view, "run", task.id))
    assert error.startswith("QueueFull: task 'full': 100 runs are already waiting")
    gate.set()
    for call in calls:
        call.result(DEADLINE)


def test_command_run_of_a_failing_job_is_not_a_refusal(caplog):
    """The run shows its own failure; nothing is logged as unread."""

    def fail():
        raise ValueError("no")

    task = make_task(fail)
    view = make_card(task)

    assert wait_for_end(view, click(view, "run", task.id)) is None
    assert "never retrieved" not in caplog.text


@pytest.mark.parametrize("content", [None, 3, "stop", {}, {"type": "other"}, []])
def test_command_of_no_shape_is_ignored(content):
    """No message of a page breaks the kernel."""
    view = panel()

    view._handle_custom_msg(content, [])

    assert view.comm.find("ack") == []


def test_command_is_refused_for_another_task_than_the_cards():
    """A card controls only its own task."""
    mine, other = make_task(), make_task()
    view = make_card(mine)

    assert wait_for_end(view, click(view, "stop", other.id)) == "this task is gone"
    assert other.status == "idle"


# --- how much is sent ---------------------------------------------------------------


def make_notice(task, event, number, **facts):
    """Return an event like a scheduler's."""
    run = ScheduledExecution(
        id=f"r{number}", reason="scheduled", date=number, started_at=number
    )
    return Notice(
        event=event,
        task_id=task.id,
        status=Status.IDLE,
        date=number,
        triggered_at=number,
        execution=run,
        **facts,
    )


def flood(tasks, seconds, events):
    """Post events and output on the client's loop, spread over some seconds."""
    client = registry.client
    pause = threading.Event()
    rounds = 50
    outcome = Outcome(is_ok=True)

    def post(number):
        for task in tasks:
            for step in range(number, number + events // rounds // len(tasks) // 2):
                client.handle_notice(make_notice(task, Event.EXECUTION_STARTED, step))
                message = Streamed(task.id, f"r{step}", "stdout", 0)
                client.handle_output(message, Payload(b"x" * 1000))
                notice = make_notice(
                    task, Event.EXECUTION_FINISHED, step, outcome=outcome
                )
                client.handle_notice(notice)

    for number in range(rounds):
        submit_to_client(partial(post, number * 1000))
        pause.wait(seconds / rounds)


def keeps_rate(messages, period):
    """Return whether there was at most one message a period.

    The first one may be half a second late, on a busy machine.
    """
    times = [at for at, _ in messages]
    return times[-1] - times[0] >= (len(times) - 1) * period - 0.5


def test_views_keep_their_rate_when_ten_thousand_events_flood_them():
    """One state message and four output messages a second, at most."""
    tasks = [make_task() for _ in range(10)]
    table, card = panel(), make_card(tasks[0])
    table.set_state({"ui": {"open": tasks[0].id, "timeline": True}})
    begun = time.monotonic()
    flood(tasks, 3.5, 10_000)

    for view in (table, card):
        assert len(view.comm.find("state")) >= 3
        assert keeps_rate(view.comm.find("state"), 1)
        assert keeps_rate(view.comm.find("output"), 0.25)
        others = [m for m in view.comm.sent if m[1] == "comm_msg"]
        seconds = time.monotonic() - begun
        # One of state and four of output a second, and a few beats and echoes.
        assert len(others) <= (1 + 4) * (seconds + 1) + 5


def test_views_share_the_bytes_that_the_server_takes():
    """Ten cards with endless output stay below the server's limit."""
    tasks = [make_task() for _ in range(10)]
    cards = [make_card(task) for task in tasks]
    client = registry.client
    for task in tasks:
        notice = make_notice(task, Event.EXECUTION_STARTED, 1)
        submit_to_client(partial(client.handle_notice, notice))
    begun = time.monotonic()
    pause = threading.Event()
    for _ in range(16):
        for task in tasks:
            message = Streamed(task.id, "r1", "stdout", 0)
            payload = Payload(b"y" * 60_000)
            submit_to_client(partial(client.handle_output, message, payload))
        pause.wait(0.25)

    sent = sum(
        len(value)
        for card in cards
        for _, message in card.comm.find("output")
        for kind, value in message["items"]
        if kind == "stdout"
    )
    elapsed = time.monotonic() - begun
    assert sent <= BYTES_PER_SECOND * (elapsed + 1.5)
    eventually(lambda: all(card.comm.find("output") for card in cards), "each has some")


def test_view_says_nothing_when_nothing_happens():
    """A notebook of idle tasks sends only a heartbeat every ten seconds."""
    for _ in range(5):
        make_task()
    view = panel()
    eventually(lambda: view.comm.find("state"))

    def is_silent():
        at, *_ = view.comm.sent[-1]
        return time.monotonic() - at > 2.5  # the state would be sent once a second

    eventually(is_silent, "nothing is sent any more")


def test_view_beats_when_it_has_been_silent(monkeypatch):
    """It tells the page that the kernel is alive."""
    monkeypatch.setattr("ipycron.notebook.widgets.live.BEAT_INTERVAL", 0.3)
    view = panel()

    eventually(lambda: len(view.comm.find("beat")) >= 2)


def test_feed_goes_on_when_one_view_fails(caplog):
    """A view that raises is logged, and delays no other."""

    class Broken:
        def note(self, _):
            raise RuntimeError("broken")

        def push(self, _):
            raise RuntimeError("broken")

    feed = registry.get_single(Feed)
    broken = Broken()
    feed.attach(broken)
    view = panel()
    make_task(name="seen")

    eventually(lambda: view.comm.find("state"))
    # Either view may be the first: they take turns.
    eventually(lambda: "a view could not be updated" in caplog.text)
    feed.detach(broken)


def test_feed_ends_its_thread_when_the_last_view_is_closed():
    """Nothing of the views is left."""
    view = panel()
    eventually(lambda: [t for t in threading.enumerate() if t.name == "ipycron-views"])
    view.close()

    eventually(
        lambda: not [t for t in threading.enumerate() if t.name == "ipycron-views"]
    )


def test_view_may_be_closed_while_it_is_filled(monkeypatch, caplog):
    """By a cell, while the feed's thread makes the widgets of a run's displays."""
    closers, comms = [], []

    def make_comm(*args, **kwargs):
        if threading.current_thread().name == "ipycron-views":
            closer = threading.Thread(target=view.close)
            closer.start()
            closer.join(0.5)  # where it need not wait, it is done by now
            closers.append(closer)
        comms.append(RecordingComm(*args, **kwargs))
        return comms[-1]

    task = make_task()
    view = make_card(task)
    feed = registry.get_single(Feed)
    notice = make_notice(task, Event.EXECUTION_STARTED, 1)
    submit_to_client(partial(registry.client.handle_notice, notice))
    eventually(lambda: view.comm.find("output"))
    monkeypatch.setattr(comm, "create_comm", make_comm)
    display = DisplayData(kind="display", data={"text/html": "<b>it</b>"})
    message = partial(registry.client.handle_output, Displayed(task.id, "r1"))
    submit_to_client(partial(message, pack_display(display)))
    eventually(lambda: closers)
    for closer in closers:
        closer.join(DEADLINE)
    eventually(lambda: feed._thread is None)
    assert "a view could not be updated" not in caplog.text
    assert comms[-1]._closed  # the widget's, made after that of its layout


# --- where there are no widgets -------------------------------------------------------


def test_script_and_style_ask_for_nothing_from_the_network():
    """One module and one style sheet, self-contained."""
    for text in (read_loader(), read_script(), read_style()):
        bare = text.replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in bare
        assert "https:" not in bare
        assert "@import" not in bare
    for script in (read_loader(), read_script()):
        assert script.count("export default") == 1
        assert "innerHTML" not in script


def test_a_view_carries_neither_the_script_nor_the_style():
    """Both are in one shared model: a page requests every view at once."""
    card, table = make_card(make_task()).get_state(), panel().get_state()

    assets = registry.get_single(Assets)
    assert card["assets"] == table["assets"] == f"IPY_MODEL_{assets.model_id}"
    assert assets.get_state(["script", "style"]) == {
        "script": read_script(),
        "style": read_style(),
    }
    assert len(json.dumps(card)) < 8_000


def test_a_view_that_was_closed_is_open_when_it_is_shown_again(monkeypatch):
    """A task's card is shared: it reopens even after ``Widget.close_all()``."""
    task = make_task()
    card = make_card(task)
    Widget.close_all()
    shown = []
    monkeypatch.setattr(page, "publish_display_data", lambda *data: shown.append(data))
    page.publish_view(make_card(task))

    assert shown[0][0][WIDGET_VIEW]["model_id"] == card.model_id
    states = Widget.get_manager_state()["state"]
    reference = states[card.model_id]["state"]["assets"]
    assert reference.removeprefix("IPY_MODEL_") in states
    task.execute().result(DEADLINE)
    eventually(lambda: card.comm.find("state"))
    assert wait_for_end(card, click(card, "stop", task.id)) is None


def test_a_view_that_is_embedded_takes_its_script_along():
    """``ipywidgets.embed`` follows the references in a widget's traits."""
    view = panel()

    states = dependency_state([view], drop_defaults=True)
    reference = states[view.model_id]["state"]["assets"]
    assert states[reference.removeprefix("IPY_MODEL_")]["state"]["script"]
