"""``%load_ext ipycron`` and ``%unload_ext ipycron``.

Loading imports next to nothing: what is needed to run tasks is imported, and the
supervisor is started, on a thread in the background.
"""

# mypy: disable-error-code="no-untyped-call"
# Most of IPython's methods have no annotations.

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from IPython.core.extensions import ExtensionManager

from ipycron.notebook.magic.magics import CronMagics
from ipycron.process.service.presence import may_have_service

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_WARMING = "ipycron-warm"
_WARM_SECONDS = 10.0
"""Maximum; it takes a fraction of a second."""


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add the magics to a shell. Loading twice is loading once."""
    if find_magics(shell) is not None:
        return
    CronMagics(shell).load()
    _show_kept()
    threading.Thread(target=warm, name=_WARMING, daemon=True).start()


def _show_kept() -> None:
    """Print in one line what the service keeps and what of it fails, if it runs.

    Where there is none, this only looks whether there is.
    """
    if not may_have_service():
        return
    from ipycron.api.kept import summarize_kept  # noqa: PLC0415 - as below

    text = summarize_kept()
    if text:
        print(text)  # noqa: T201 - the output of the cell


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """End all tasks, report which, and remove everything from the shell.

    ``%reload_ext`` also calls this: then nothing changes and no task ends.
    """
    magics = find_magics(shell)
    if magics is not None and not _is_reloading():
        _wait_until_warm()
        magics.unload()


def find_magics(shell: InteractiveShell) -> CronMagics | None:
    """Return the magics that a shell has loaded, or None."""
    magic = shell.find_cell_magic("cron")
    owner = getattr(magic, "__self__", None)
    return owner if isinstance(owner, CronMagics) else None


def _is_reloading() -> bool:
    frame = sys._getframe(1)  # noqa: SLF001 - there is no other way to know
    while frame is not None:
        if frame.f_code is ExtensionManager.reload_extension.__code__:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _wait_until_warm() -> None:
    """Wait until warming a recently loaded shell can start no supervisor."""
    for thread in threading.enumerate():
        if thread.name == _WARMING:
            thread.join(_WARM_SECONDS)


def warm() -> None:
    """Import what the first `%%cron` needs, and start the supervisor: 50 ms.

    Meanwhile, the zygote builds a shell. The first schedule of a process reads the
    system's zone, computes its coming transitions, and loads the descriptions: 18 ms.
    Waits for no process.
    """
    # On this background thread, so that loading the extension need not wait.
    from ipycron.client.registry import registry  # noqa: PLC0415
    from ipycron.cron import CronExpression  # noqa: PLC0415
    from ipycron.notebook.display.words import get_now  # noqa: PLC0415
    from ipycron.notebook.magic import dispatch  # noqa: F401, PLC0415
    from ipycron.process.nesting import is_inside  # noqa: PLC0415
    from ipycron.process.wire.protocol import Preload  # noqa: PLC0415

    if is_inside():  # nothing is scheduled in processes that run jobs
        return
    pickler = "ipycron.process.wire.pickler"
    registry.client.warm(Preload((pickler,), shell=True))  # noqa: S604 - IPython's
    yearly = CronExpression("0 0 1 1 *")
    yearly.describe()
    yearly.upcoming(3, get_now())
