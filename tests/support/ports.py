"""Free ports for the servers that tests start."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST_EPHEMERAL = 32768  # Linux's default
_COUNT = 12_000
_dice = random.SystemRandom()


def find_free_port():
    """Return a free port of the loopback interface, to be used a moment later.

    It is none of those that the system gives to whoever connects: until the server
    listens, and while it is restarted, another test's connection might get it.
    """
    first = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else _FIRST_EPHEMERAL
    end = first if first > 2 * _COUNT else _FIRST_EPHEMERAL
    while True:
        port = _dice.randrange(end - _COUNT, end)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
