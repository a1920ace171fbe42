"""Kept tasks for users: finding the service, handing tasks over to it.

A process that never uses the service pays for one look at whether there is one.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ipycron.api.task import Task, get_record
from ipycron.api.text_table import explain_start, flatten
from ipycron.client.completion import Wakeup
from ipycron.client.jobs import Background, OnExecutor
from ipycron.client.registry import registry
from ipycron.errors import InvalidOption, ServiceError
from ipycron.process.nesting import is_inside
from ipycron.process.service.presence import may_have_service

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

    from ipycron.client.jobs import Source
    from ipycron.client.options import TaskOptions
    from ipycron.client.record import TaskRecord
    from ipycron.process.service.paths import Places
    from ipycron.process.service.protocol import Greeting

LOOK_EVERY = 1.0
"""Seconds between two looks for a service that was not there."""
LOOK_AFTER_ERROR = 30.0
"""Seconds until the next look after the service could not be used."""
LOOK_TIMEOUT = 2.0
"""Seconds that a look may take if the service does not answer."""
ANSWER_TIMEOUT = 5.0
"""Seconds for the service to answer a client that needs it."""
LOADING = 30.0
"""Seconds beyond `start_timeout` for a declaration to be answered: the service may have
to start its supervisor, on a busy machine."""
MAX_NAMED, MAX_SHOWN = 8, 120
"""Tasks that one line names, and the characters of each."""
_HERE = "a kept task outlives this process"


class _NoAnswer(Exception):
    """The service has not answered in time; an answer may itself be a timeout."""


class ServiceAccess:
    """Attaches this process to the service; one for each process."""

    def __init__(self) -> None:
        self._places: Places | None = None
        self._greeting: Greeting | None = None
        self._next_look = 0.0

    def look(self, *, is_needed: bool = False) -> None:
        """Attach to the service if it runs and that was not done yet; else do nothing.

        What goes wrong is logged once: the caller asks for tasks of all kinds. Where no
        service can be, there is none.

        Args:
            is_needed: look even if one has just been in vain.
        """
        now = time.monotonic()
        is_early = now < self._next_look and not is_needed
        if is_early or _is_attached() or not _may_attach():
            return
        self._next_look = now + LOOK_EVERY
        if not self._has_places():
            return
        try:
            if self._attach(LOOK_TIMEOUT):
                self._next_look = 0.0  # if this process leaves it, it looks again
        except ServiceError as error:
            self._next_look = time.monotonic() + LOOK_AFTER_ERROR
            registry.client.warn_once("%s", error, extra={})

    def is_there(self) -> bool:
        """Return whether a service seems to run, as cheaply as possible."""
        from ipycron.process.service.paths import find_socket  # noqa: PLC0415

        if not _may_attach() or not self._has_places():
            return False
        return find_socket(self._find_places()) is not None

    def reach(self, *, starts: bool) -> None:
        """Attach to the service, if that was not done yet.

        Args:
            starts: whether it is started if it does not run.

        Raises:
            ServiceError: if it cannot be reached, or does not run.
        """
        if _is_attached() or self._attach(ANSWER_TIMEOUT):
            return
        if not starts:
            raise ServiceError(
                reason="it does not run. It is started by the first task with "
                "keep=True, or by `ipycron service start`"
            )
        from ipycron.process.service.launch import start_service  # noqa: PLC0415

        start_service(self._find_places())
        if not self._attach(ANSWER_TIMEOUT):
            raise ServiceError(reason="it ended as soon as it was started")

    def _has_places(self) -> bool:
        try:
            self._find_places()
        except ServiceError:
            return False
        return True

    def _find_places(self) -> Places:
        # Not before it is needed: platformdirs takes 3 ms.
        from ipycron.process.service.paths import find_places  # noqa: PLC0415

        if self._places is None:
            self._places = find_places()
        return self._places

    def _attach(self, timeout: float) -> bool:
        """Attach within `timeout` seconds; return whether a service runs."""
        from ipycron.process.service.paths import find_socket  # noqa: PLC0415

        places = self._find_places()
        if find_socket(places) is None:
            return False
        from ipycron.process.service.attach import SILENT, connect  # noqa: PLC0415

        client = registry.client
        client.make_handle = Task
        # First: the service waits only so long for the greeting.
        kept, greeting = client.get_kept(), self._make_greeting()
        sock = connect(places, timeout)
        if sock is None:
            return False
        try:
            call_on_loop(lambda: kept.attach(sock, places, greeting), timeout)
        except _NoAnswer:
            raise ServiceError(reason=SILENT) from None
        return True

    def _make_greeting(self) -> Greeting:
        from ipycron import __version__  # noqa: PLC0415 - this package's own
        from ipycron.process.service.protocol import make_greeting  # noqa: PLC0415

        if self._greeting is None:
            self._greeting = make_greeting(__version__)
        return self._greeting


def _is_attached() -> bool:
    client = registry.running_client
    return client is not None and client.is_attached


def _may_attach() -> bool:
    """Return whether this thread may wait for the service, and this process have one.

    The service itself and time travel keep nothing elsewhere; jobs schedule nothing.
    """
    client = registry.running_client
    if is_inside() or (client is not None and not client.keeps):
        return False
    return threading.current_thread().name != "ipycron"


def call_on_loop(start: Callable[[], Future[None]], timeout: float) -> None:
    """Call `start` on the client's loop, and wait for the end of what it returns.

    Raises:
        _NoAnswer: if that has not come within `timeout` seconds.
        BaseException: whatever it ends with.
    """
    wakeup, ends = Wakeup(), []

    def finish(future: Future[None]) -> None:
        ends.append(future.exception())
        wakeup.set()

    def begin() -> None:
        try:
            start().add_done_callback(finish)
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            ends.append(error)
            wakeup.set()

    if not registry.client.submit(begin):
        raise ServiceError(reason="this process is shutting down")
    if not wakeup.wait(timeout):
        raise _NoAnswer
    (error,) = ends
    if error is not None:
        raise error


def look_for_kept(*, is_needed: bool = False) -> None:
    """Attach to the service if it runs: its tasks are then among the client's.

    Args:
        is_needed: look even if one has just been in vain.
    """
    if may_have_service():
        registry.get_single(ServiceAccess).look(is_needed=is_needed)


def attach() -> dict[str, Task]:
    """Return all kept tasks, by id, of a service that runs; start none.

    Raises:
        ServiceError: if it does not run, or cannot be reached.
    """
    registry.get_single(ServiceAccess).reach(starts=False)
    tasks = registry.client.get_handles()
    return {id_: task for id_, task in tasks.items() if get_record(task).is_kept}


def summarize_kept() -> str:
    """Return one line on what is kept and what of it fails; empty if there is nothing.

    Reads the process's own state only if a service runs.
    """
    access = registry.get_single(ServiceAccess)
    if not access.is_there():
        return ""
    access.look()
    client = registry.running_client
    tasks = [] if client is None else [t for t in client.tasks.values() if t.is_kept]
    if not tasks:
        return ""
    names = _list_names([task.name for task in tasks])
    failing = [text for text in map(_find_trouble, tasks) if text]
    failures = f"; failing: {_list_names(failing)}" if failing else ""
    count = "1 task" if len(tasks) == 1 else f"{len(tasks)} tasks"
    return f"ipycron keeps {count}: {names}{failures}"


def _list_names(names: list[str]) -> str:
    """Return the first names, each as one line that is not too long.

    Examples:
        >>> _list_names(["nightly", "x" * 500])[-4:]
        'xxx…'
        >>> _list_names(list("abcdefghijk"))
        'a, b, c, d, e, f, g, h and 3 more'
    """
    shown = [
        flatten(name, MAX_SHOWN) + ("…" if len(name) > MAX_SHOWN else "")
        for name in names[:MAX_NAMED]
    ]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _find_trouble(task: TaskRecord) -> str:
    """Return a task's name and why it fails; empty if it does not."""
    if task.start_error is not None and not task.is_started:
        return f"{task.name} ({explain_start(task.start_error)})"
    history = task.observed.history
    if not history or history[-1].outcome != "failed":
        return ""
    return f"{task.name} ({history[-1].summary})"


def find_service_pid() -> int | None:
    """Return the process of the service; None where this one is not attached."""
    client = registry.running_client
    return None if client is None else client.service_pid


def check_keep(options: TaskOptions, source: Source) -> TaskOptions:
    """Return the options of a task; if it is to be kept, refuse what cannot be.

    Raises:
        InvalidOption: if something of the task lives in this process.
    """
    if not options.keep:
        return options
    if options.name is None:
        raise _refuse(
            "name", None, "a name, with keep=True: a kept task is found by it"
        )
    if isinstance(source, OnExecutor):
        raise _refuse("executor", options.executor, f"None with keep=True: {_HERE}")
    if not isinstance(source, Background):
        advice = "Pass background=True, so that it runs in a worker."
        expected = f"False for a function that runs inline: {_HERE}"
        raise _refuse("keep", True, expected, advice)
    if options.distributed:
        expected = "False with keep=True: each machine's service runs its own tasks"
        raise _refuse("distributed", True, expected)
    for name in ("run_coordinator", "logger"):
        value: Any = getattr(options, name)
        if value is not None:
            raise _refuse(name, value, f"None with keep=True: {_HERE}")
    client = registry.running_client
    if client is not None and not client.keeps:
        raise _refuse("keep", True, "False here: tasks of this process cannot be kept")
    # What it prints is the service's, and no script has to wait for it.
    return replace(options, echo=False, unref=True)


def _refuse(name: str, value: Any, expected: str, advice: str = "") -> InvalidOption:
    return InvalidOption(option=name, value=value, expected=expected, advice=advice)


def reach_service() -> None:
    """Attach to the service; start it if it does not run. See `ServiceAccess.reach`."""
    registry.get_single(ServiceAccess).reach(starts=True)


def keep_task(task: Task, *, is_started: bool) -> None:
    """Hand a task over to the service; return when it is loaded there.

    Raises:
        ServiceError: if the service cannot be reached or does not answer.
        BaseException: the error of its start; an earlier task of its name goes on.
    """
    from ipycron import __version__  # noqa: PLC0415 - as above
    from ipycron.client.declaration import describe_task  # noqa: PLC0415

    record, kept = get_record(task), registry.client.get_kept()
    record.begin_counting()
    declaration, payload = describe_task(
        record, version=__version__, is_started=is_started
    )
    patience = record.options.start_timeout + LOADING
    try:
        call_on_loop(lambda: kept.declare(record, declaration, payload), patience)
    except _NoAnswer:
        raise ServiceError(
            reason=f"it did not confirm within {patience:g} s that it keeps task "
            f"{task.name!r}. `ipycron list` shows whether it does"
        ) from None
