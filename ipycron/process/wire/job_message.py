"""What a worker loads, on the wire: jobs, and the setting they are run in.

`protocol.py` holds the messages that carry them.
"""

from __future__ import annotations

from ipycron.process.wire.message import Message


class FileJob(Message, frozen=True):
    """A Python file. Its `task` is called, or the file itself is the script."""

    path: bytes
    args: tuple[bytes, ...] = ()


class FunctionJob(Message, frozen=True):
    """A callable; the payload beside it holds it, by cloudpickle."""


class CellJob(Message, frozen=True):
    """A notebook cell; the payload beside it holds its captured variables.

    Attributes:
        source: the cell's text as typed.
        filename: what tracebacks call it.
        extensions: IPython extensions that the cell's magics need.
    """

    source: str
    filename: str
    extensions: tuple[str, ...] = ()


Job = FileJob | FunctionJob | CellJob


class Setting(Message, frozen=True):
    """The surroundings of a job in its worker.

    Attributes:
        cwd: working directory.
        env: environment variables to set, or to remove (None).
        path: `sys.path` of the client.
        log_level: the client's root logging level; records below stay away.
        max_result_bytes: largest result that travels.
    """

    cwd: bytes
    env: dict[bytes, bytes | None]
    path: tuple[bytes, ...]
    log_level: int
    max_result_bytes: int
