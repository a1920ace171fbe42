"""Collects what inline cells print and show for their card, like a worker's output.

The cells run in the notebook's own process, where `print` and `display` write to the
front end. The client records what runs print (`client.recording`); while one is in
progress, displays are patched in place as well, by the same context: what is displayed
in the context of a run goes to its output, everything else where it went before.
"""

# mypy: disable-error-code="no-untyped-call"
# Most of IPython's methods have no annotations.

from __future__ import annotations

import contextlib
import sys
import threading
from collections import OrderedDict
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from ipycron.client.recording import recorder
from ipycron.client.registry import registry
from ipycron.process.shell.displays import clean_bundle, clean_metadata
from ipycron.process.wire.displays import DisplayData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ipycron.client.recording import Recorder


class InlineOutput:
    """Patches the displays of a shell while inline cells run."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._lock = threading.RLock()
        self._count = 0
        self._patched: list[tuple[Any, str]] = []

    @contextlib.contextmanager
    def taking(self) -> Iterator[Recorder]:
        """Collect what the body of the ``with`` statement prints and shows.

        Several runs may be in progress at once.
        """
        run = recorder.get()
        assert run is not None
        run.passes_on = False
        self._add(1)
        try:
            yield run
        finally:
            self._add(-1)

    def _add(self, count: int) -> None:
        with self._lock:
            self._count += count
        self.settle()

    def settle(self) -> None:
        """Install the patches needed now; called when a cell begins and ends."""
        if registry.running_client is not None:
            registry.running_client.streams.settle()
        with self._lock:
            if self._count:
                publisher = self._shell.display_pub
                self._patch(publisher, "publish", _make_publish)
                self._patch(publisher, "clear_output", _make_clear_output)
            else:
                # What IPython has patched since then is patched again when the cell
                # ends.
                self._patched = [p for p in self._patched if not _restore(*p)]

    def _patch(
        self, owner: Any, name: str, make: Callable[[Any], Callable[..., Any]]
    ) -> None:
        below = getattr(owner, "__dict__", {}).get(name)
        if isinstance(below, _Patch):
            return
        with contextlib.suppress(AttributeError):  # its attributes cannot be set
            setattr(owner, name, _Patch(make(getattr(owner, name)), below))
            if (owner, name) not in self._patched:
                self._patched.append((owner, name))


class _Patch:
    """Stands in for a method of one object.

    Args:
        function: the replacement.
        below: the object's previous attribute; None for the method of its class.
    """

    def __init__(self, function: Callable[..., Any], below: Any) -> None:
        self._function = function
        self.below = below

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._function(*args, **options)


def _restore(owner: Any, name: str) -> bool:
    """Remove our patch; return False if another one covers it."""
    patch = vars(owner).get(name)
    if isinstance(patch, _Patch):
        if patch.below is None:
            delattr(owner, name)
        else:
            setattr(owner, name, patch.below)
        return True
    return patch is None


def _make_publish(publish: Callable[..., Any]) -> Callable[..., Any]:
    def publish_to_run(
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        *args: Any,
        **options: Any,
    ) -> Any:
        run = recorder.get()
        display_id = (options.get("transient") or {}).get("display_id")
        is_update = bool(options.get("update"))
        # A display of another cell is updated where it is.
        if run is None or (is_update and not run.has_shown(display_id)):
            return publish(data, metadata, *args, **options)
        run.display(
            DisplayData(
                kind="update" if is_update else "display",
                data=clean_bundle(data, has_page=True),
                metadata=clean_metadata(metadata),
                display_id=None if display_id is None else str(display_id),
            )
        )
        return None

    return publish_to_run


def _make_clear_output(clear_output: Callable[..., Any]) -> Callable[..., Any]:
    def clear_output_of_run(wait: bool = False) -> Any:  # noqa: FBT001, FBT002 - as IPython calls it
        run = recorder.get()
        if run is None:
            return clear_output(wait)
        run.display(DisplayData(kind="clear", is_waiting=wait))
        return None

    return clear_output_of_run


class OwnFigures(Coroutine[Any, Any, Any]):
    """A coroutine with open figures of its own, separate from other cells'.

    matplotlib's inline backend shows and closes all open figures at the end of every
    cell. A run that awaits would lose a half-drawn figure.

    Args:
        coroutine: the coroutine to run.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self._figures: _Figures | None = None

    def send(self, value: Any, /) -> Any:
        """Resume the coroutine; see `Coroutine`."""
        with self._swapped():
            return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        """Raise an error in the coroutine; see `Coroutine`."""
        with self._swapped():
            return self._coroutine.throw(*error)

    def close(self) -> None:
        """End the coroutine; see `Coroutine`."""
        self._coroutine.close()

    def __await__(self) -> Any:
        """Await the coroutine, as a task does; see `Coroutine`."""
        value = None
        while True:
            try:
                yielded = self.send(value)
            except StopIteration as end:
                return end.value
            value = yield yielded

    @contextlib.contextmanager
    def _swapped(self) -> Iterator[None]:
        others = _swap_figures(self._figures)
        try:
            yield
        finally:
            self._figures = _swap_figures(others)


@contextlib.contextmanager
def own_figures() -> Iterator[None]:
    """Show only figures that the body opens."""
    others = _swap_figures(None)
    try:
        yield
    finally:
        _swap_figures(others)


_Figures = tuple[Any, Any, Any]


def _swap_figures(figures: _Figures | None) -> _Figures | None:
    """Set the open figures of the inline backend; return what was set before.

    If it is not loaded there are none; with another backend they are left alone.
    """
    backend = sys.modules.get("matplotlib_inline.backend_inline")
    helpers = sys.modules.get("matplotlib._pylab_helpers")
    if backend is None or helpers is None:
        return None
    show, manager = backend.show, helpers.Gcf
    before = (manager.figs, show._to_draw, show._draw_called)  # noqa: SLF001 - all there is
    manager.figs, show._to_draw, show._draw_called = figures or (  # noqa: SLF001 - as above
        OrderedDict(),
        [],
        False,
    )
    return before
