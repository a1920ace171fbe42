"""Views without a browser: what they send is recorded; they are sent commands."""

from __future__ import annotations

import time
import uuid
from functools import partial

from comm.base_comm import BaseComm
from polling import eventually


class RecordingComm(BaseComm):
    """A comm without a browser that records messages and their times."""

    def __init__(self, *args, **kwargs):
        self.sent = []
        super().__init__(*args, **kwargs)

    def publish_msg(self, msg_type, data=None, *_args, **_kwargs):
        """Record a message."""
        self.sent.append((time.monotonic(), msg_type, data or {}))

    def find(self, kind):
        """Return the custom messages of a type, with their times."""
        customs = [
            (at, data["content"])
            for at, _, data in tuple(self.sent)
            if data.get("method") == "custom"
        ]
        return [(at, content) for at, content in customs if content["type"] == kind]


def click(view, name, task="", **more):
    """Send a command like the browser; return its id."""
    command_id = uuid.uuid4().hex
    command = {"type": "command", "id": command_id, "name": name, "task": task, **more}
    view._handle_custom_msg(command, [])
    return command["id"]


def wait_for_end(view, command_id):
    """Return the outcome of a command."""
    done = partial(view.comm.find, "done")
    return eventually(lambda: [m for _, m in done() if m["id"] == command_id])[0][
        "error"
    ]
