"""Checks of where the service keeps its state: folders, file system, free space.

The folders need not exist: the service makes them when it starts.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ipycron.runlog.filesystem import is_network
from ipycron.service.findings import Finding

LITTLE_SPACE = 200 << 20
"""Bytes of free space below which a disk is nearly full: the history alone may take
256 MB."""
NO_SPACE = 20 << 20
"""Bytes below which rows and tasks will soon not be written."""


def check_file_system(folder: Path) -> Finding:
    """Check that the state is on a disk of this machine.

    Args:
        folder: of the service's state; it need not exist.
    """
    if is_network(find_existing(folder)):
        return Finding(
            check="file system",
            state="warn",
            found=f"{folder} is on a network file system: kept tasks wait for it, and "
            "other machines see the same folder",
            advice="set IPYCRON_SERVICE_DIR to a folder on a local disk, in the "
            "kernels' environment, too",
        )
    return _ok("file system", "the state is on a local file system")


def check_space(folder: Path) -> Finding:
    """Check that there is room for what is written.

    Args:
        folder: of the service's state; it need not exist.
    """
    place = find_existing(folder)
    disk = os.statvfs(place)
    free = disk.f_bavail * disk.f_frsize
    advice = f"free some space on the file system of {place}"
    if disk.f_files and not disk.f_favail:
        return Finding(
            check="disk space",
            state="fail",
            found=f"no file can be created in {place}: it is out of inodes",
            advice=advice,
        )
    return judge_space(free, str(place), advice)


def judge_space(free: int, place: str, advice: str) -> Finding:
    """Return what so many free bytes mean."""
    found = f"{free / 1e6:,.0f} MB are free in {place}"
    if free < NO_SPACE:
        return Finding(check="disk space", state="fail", found=found, advice=advice)
    if free < LITTLE_SPACE:
        return Finding(check="disk space", state="warn", found=found, advice=advice)
    return _ok("disk space", found)


def check_private(check: str, folder: Path) -> Finding:
    """Check that a folder is this user's only, and that files can be created in it.

    Args:
        check: what the folder is for.
        folder: one that the service makes when it starts, if it does not exist.
    """
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return _check_parent(check, folder)
    except OSError as error:
        return _refuse(check, folder, error.strerror or str(error))
    reason = _find_fault(folder, status)
    if reason is not None:
        return _refuse(check, folder, reason)
    mode = stat.S_IMODE(status.st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Finding(
            check=check,
            state="fail",
            found=f"{folder} is open to others ({mode:04o})",
            advice="`ipycron service restart` closes it; see who has been in it",
        )
    return _ok(check, f"{folder} is there and private")


def _find_fault(folder: Path, status: os.stat_result) -> str | None:
    if not stat.S_ISDIR(status.st_mode):
        return "it is no folder"
    if status.st_uid != os.geteuid():
        return f"it is another user's (uid {status.st_uid})"
    if not os.access(folder, os.W_OK | os.X_OK):
        return "nothing can be written to it"
    return None


def _check_parent(check: str, folder: Path) -> Finding:
    parent = find_existing(folder)
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        return _refuse(check, folder, f"it cannot be created in {parent}")
    return _ok(check, f"{folder} will be created with the first kept task")


def _refuse(check: str, folder: Path, reason: str) -> Finding:
    return Finding(
        check=check,
        state="fail",
        found=f"{folder} cannot be used: {reason}",
        advice="set IPYCRON_SERVICE_DIR to a folder of your own, or remove it",
    )


def find_existing(path: Path) -> Path:
    """Return the path, or the nearest of its parents that exists."""
    for place in (path, *path.parents):
        try:
            place.stat()
        except OSError:
            continue
        return place
    return Path("/")


def _ok(check: str, found: str) -> Finding:
    return Finding(check=check, state="ok", found=found)
