"""An executor for time travel: a process for each run, on the real clock."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipycron.executors.guest import run_guest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PROGRAM = "from ipycron.testing.processes import main; main()"


class ProcessPerRun(concurrent.futures.Executor):
    """Starts a Python process for each run, with this one's `sys.path`.

    Args:
        cwd: its working folder; this process's by default.
        env: environment variables to set for it.
    """

    def __init__(self, *, cwd: str | None, env: Mapping[str, str] | None) -> None:
        self._cwd = cwd
        self._env = dict(env or {})

    def submit(
        self,
        fn: Callable[..., Any],  # noqa: ARG002 - there is one that it runs
        /,
        *args: Any,
        **kwargs: Any,  # noqa: ARG002 - as above
    ) -> concurrent.futures.Future[Any]:
        """Run `run_guest` with a packed run."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        future.set_running_or_notify_cancel()
        threading.Thread(
            target=partial(self._run, future, args[0]), daemon=True
        ).start()
        return future

    def _run(self, future: concurrent.futures.Future[Any], packed: bytes) -> None:
        path = os.pathsep.join(folder or os.curdir for folder in sys.path)
        try:
            with tempfile.TemporaryDirectory(prefix="ipycron-run-") as folder:
                report = Path(folder) / "report"
                subprocess.run(  # noqa: S603 - this Python, our own program
                    [sys.executable, "-c", _PROGRAM, str(report)],
                    input=packed,
                    cwd=self._cwd,
                    env={**os.environ, "PYTHONPATH": path, **self._env},
                    check=True,
                )
                future.set_result(report.read_bytes())
        except BaseException as error:  # noqa: BLE001 - a thread's border: handed on
            future.set_exception(error)


def main() -> None:
    """Run the packed run on stdin; write the report to the file named in `sys.argv`."""
    packed = sys.stdin.buffer.read()
    Path(sys.argv[1]).write_bytes(run_guest(packed, is_due=True))
