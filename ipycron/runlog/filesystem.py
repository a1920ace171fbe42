"""On what kind of file system a folder is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

NETWORK = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "fuse",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "pvfs2",
        "smb2",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
        "vmhgfs",
    }
)
"""File systems whose shared memory may not be shared by all who open a file, as the
write-ahead log needs it. FUSE may be anything, and often is a network."""


def is_network(folder: Path) -> bool:
    """Return whether the folder is on a file system for which WAL is not safe.

    Where the system does not say (macOS), it counts as local: SQLite there has its own
    locks for network volumes.

    Source: https://www.sqlite.org/wal.html, "all processes must be on the same host".
    """
    if sys.platform != "linux":
        return False
    try:
        # By the folder's device: a file's may be another on a layered file system.
        device = folder.stat().st_dev
        mounts = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return False
    kind = find_kind(mounts, f"{os.major(device)}:{os.minor(device)}")
    return kind is not None and kind.partition(".")[0] in NETWORK


def find_kind(mounts: str, device: str) -> str | None:
    """Return the type of the file system on that device; None if it is not listed.

    Args:
        mounts: the text of ``/proc/self/mountinfo``. The kernel has the type's name
            here, as ``fuse.sshfs``; ``statfs`` has a number, and Python has no
            ``statfs``. Source: proc(5).
        device: ``major:minor``.
    """
    for line in mounts.splitlines():
        place, _, rest = line.partition(" - ")
        fields = place.split()
        if len(fields) > 2 and fields[2] == device and rest:  # noqa: PLR2004 - proc(5)
            return rest.split()[0]
    return None
