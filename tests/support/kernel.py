"""A real kernel, and a client that behaves like a front end."""

from __future__ import annotations

import os
import queue
import re
import signal
import time
import uuid

from jupyter_client.manager import KernelManager
from watching import MARK, find_marked

DEADLINE = 60.0
"""Seconds for one cell: generous where only the order matters."""
BUSY = "print('bu' + 'sy')\nimport time\nfor _ in range(600): time.sleep(0.1)\n"
"""A cell to be interrupted once it has said "busy", for a minute. By many short sleeps:
a signal just before a sleep's system call is seen after it."""


def strip_colours(text):
    """Return a text without terminal colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


class Kernel:
    """A kernel and its client, with a deadline for every operation.

    Attributes:
        mark: in the environment of the kernel and of all that it starts.
        displays: the newest data of each display by its id, whoever has renewed it.
        outputs: the data of what cells have displayed or returned, in order.
        strays: messages that came while another cell ran than theirs.
    """

    def __init__(self, folder=None, **environment):
        self.mark = uuid.uuid4().hex
        self._manager = KernelManager(kernel_name="python3")
        env = {**os.environ, MARK: self.mark, **environment}
        self._manager.start_kernel(cwd=folder and str(folder), env=env)
        self.displays = {}
        self.outputs = []
        self.strays = []
        self._connect()

    def _connect(self):
        self._client = self._manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=DEADLINE)

    @property
    def pid(self):
        """The kernel's process."""
        return self._manager.provisioner.pid

    def find_others(self):
        """Return the processes that the kernel has started."""
        return {p: c for p, c in find_marked(self.mark).items() if p != self.pid}

    # --- cells -----------------------------------------------------------------------

    def begin(self, code, cell_id=None, deleted=()):
        """Send a cell; return its message's id. Its error aborts no later cell."""
        message = self._client.session.msg(
            "execute_request",
            {
                "code": code,
                "silent": False,
                "store_history": True,
                "user_expressions": {},
                "allow_stdin": False,
                "stop_on_error": False,
            },
        )
        if cell_id is not None:
            message["metadata"]["cellId"] = cell_id
        message["metadata"]["deletedCells"] = list(deleted)
        self._client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def run(self, code, cell_id=None, deleted=()):
        """Run a cell; return all text in its output."""
        return self.finish(self.begin(code, cell_id, deleted))

    def finish(self, message_id):
        """Wait until a cell is done; return all text in its output."""
        texts = []
        end = time.monotonic() + DEADLINE
        while True:
            message = self._client.get_iopub_msg(timeout=end - time.monotonic())
            self._note(message)
            if message["parent_header"].get("msg_id") != message_id:
                self.strays.append(message)  # of a cell before
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                return strip_colours("".join(texts))
            if kind == "stream":
                texts.append(content["text"])
            elif kind == "error":
                texts.append("\n".join(content["traceback"]))
            elif kind in ("display_data", "execute_result"):
                self.outputs.append(content["data"])
                texts.append(content["data"].get("text/plain", "") + "\n")

    def _note(self, message):
        """Record updates of displays, whichever cell they belong to."""
        if message["msg_type"] in ("display_data", "update_display_data"):
            transient = message["content"].get("transient", {})
            if "display_id" in transient:
                display = transient["display_id"]
                self.displays[display] = message["content"]["data"]

    def find_display(self, look):
        """Return a display that `look` accepts, once there is one."""
        end = time.monotonic() + DEADLINE
        while True:
            for data in self.displays.values():
                if look(data):
                    return data
            assert time.monotonic() < end, list(self.displays.values())
            try:
                self._note(self._client.get_iopub_msg(timeout=0.1))
            except queue.Empty:
                continue

    def wait_for_text(self, text):
        """Return once a text has been printed."""
        end = time.monotonic() + DEADLINE
        while True:
            message = self._client.get_iopub_msg(timeout=end - time.monotonic())
            if text in message["content"].get("text", ""):
                return

    def drain(self, seconds):
        """Return the messages that arrive in the meantime."""
        end = time.monotonic() + seconds
        messages = []
        while (left := end - time.monotonic()) > 0:
            try:
                messages.append(self._client.get_iopub_msg(timeout=left))
            except queue.Empty:
                break
        return messages

    def complete(self, code):
        """Return the kernel's completions at the end of a text."""
        reply = self._client.complete(code, reply=True, timeout=DEADLINE)
        return reply["content"]["matches"]

    def inspect(self, code):
        """Return the kernel's answer to ``code?``."""
        reply = self._client.inspect(code, len(code), reply=True, timeout=DEADLINE)
        return strip_colours(reply["content"]["data"]["text/plain"])

    # --- the kernel itself -----------------------------------------------------------

    def interrupt(self):
        """Interrupt, like the stop button."""
        self._manager.interrupt_kernel()

    def restart(self, *, now=False):
        """Restart, like the restart button; return when the new kernel answers.

        Args:
            now: whether the old one is killed, without a chance to shut down.
        """
        self._client.stop_channels()
        self._manager.restart_kernel(now=now)
        self._connect()

    def shut_down(self, *, now=False):
        """Shut down, like closing the notebook."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=now)

    def kill(self):
        """Kill the kernel, like the system would."""
        os.kill(self.pid, signal.SIGKILL)

    def close(self):
        """End it in any state, and release everything."""
        if self._manager.has_kernel:
            self.shut_down(now=True)
        self._client.stop_channels()
        self._manager.cleanup_resources()
        self._manager.context.destroy()
