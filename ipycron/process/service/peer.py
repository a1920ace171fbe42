"""Whose process is at the other end of a Unix socket, as the system says it."""

from __future__ import annotations

import socket
import struct
import sys

_LOCAL_PEERCRED = 1  # <sys/un.h> of macOS and the BSDs, at level 0
_XUCRED_BYTES = 76
_CREDENTIALS = struct.Struct("3i")  # of Linux: pid, uid, gid


def find_user(sock: socket.socket) -> int | None:
    """Return which user's process is at the other end; None if that is unknown."""
    try:
        if sys.platform == "linux":
            size = _CREDENTIALS.size
            data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            return int(_CREDENTIALS.unpack(data)[1])
        # macOS and the BSDs: `struct xucred` begins with its version and the user.
        data = sock.getsockopt(0, _LOCAL_PEERCRED, _XUCRED_BYTES)
        return int(struct.unpack_from("2I", data)[1])
    except OSError:
        return None
