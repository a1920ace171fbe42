"""Checks of where the service lives: container, hub, session, clock.

Each is a function of what it looks at, and returns one `Finding`. None of them starts,
changes or waits for anything.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ipycron.process.wire.printable import show_hidden
from ipycron.runlog.filesystem import find_kind
from ipycron.service.findings import Finding
from ipycron.service.storage import find_existing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_CGROUPS = ("docker", "kubepods", "containerd", "libpod", "lxc", "machine.slice")
"""Words in the control group of a container's first process (cgroup version 1)."""
_HOSTS = {
    "JUPYTERHUB_SERVICE_PREFIX": "a JupyterHub",
    "JUPYTERHUB_API_URL": "a JupyterHub",
    "BINDER_SERVICE_HOST": "Binder",
    "COLAB_RELEASE_TAG": "Google Colab",
    "KAGGLE_KERNEL_RUN_TYPE": "Kaggle",
}
"""Variables of hosts that end a user's server when it is idle. Their values may be
secret: only the names are looked at."""
_CULLS = re.compile(
    r"\b(cull_idle_timeout|shutdown_no_activity_timeout)\b[\"']?\s*[=:]\s*(\d+)"
)
_ENDING = "the service ends with your last session: your user does not linger"
_UNKNOWN = "the service is in a unit of your session, which may end at logout"
_LARGEST_CONFIGURATION = 1 << 20
_TIME_ERROR = 5  # <sys/timex.h>: the clock is not synchronized
_TIMEX_BYTES = 512
"""More than any system's `struct timex` has, which is 208 bytes on Linux."""


def find_container(
    environ: Mapping[str, str] = os.environ, root: Path = Path("/")
) -> str | None:
    """Return the kind of container that this is, in a word; None if it is none.

    Args:
        environ: podman and systemd-nspawn set ``container``; Kubernetes, its address.
        root: the folder that holds ``.dockerenv``, ``run`` and ``proc``.
    """
    if "KUBERNETES_SERVICE_HOST" in environ:
        return "Kubernetes"
    if (root / "run/.containerenv").exists():
        return "podman"
    if (root / ".dockerenv").exists():
        return "docker"
    # What systemd has been told by the container's manager. Source: systemd.io,
    # "The Container Interface".
    said = environ.get("container") or _read(root / "run/systemd/container").strip()
    if said:
        return show_hidden(said[:40])
    group = _read(root / "proc/1/cgroup")
    return next((word for word in _CGROUPS if word in group), None)


def check_container(
    kind: str | None, folder: Path, mounts: str | None = None
) -> Finding:
    """Check whether what is kept outlives this system.

    Args:
        kind: as `find_container` returns it.
        folder: of the service's state; it need not exist.
        mounts: the text of ``/proc/self/mountinfo``; read if it is None.
    """
    if kind is None:
        return Finding(check="container", state="ok", found="this is no container")
    if mounts is None:
        mounts = _read(Path("/proc/self/mountinfo"))
    device = find_existing(folder).stat().st_dev
    layer = find_kind(mounts, f"{os.major(device)}:{os.minor(device)}")
    found = f"this is a container ({kind}): the service ends with it"
    start = "have its entry point run `ipycron service start`"
    if layer in ("overlay", "aufs"):
        return Finding(
            check="container",
            state="warn",
            found=f"{found}, and kept tasks are lost with it: {folder} is in its layer",
            advice=f"put that folder on a volume (IPYCRON_SERVICE_DIR), and {start}",
        )
    return Finding(check="container", state="warn", found=found, advice=start)


def check_hub(environ: Mapping[str, str]) -> Finding:
    """Check for a host that ends servers which nobody uses."""
    hosts = {host: name for name, host in _HOSTS.items() if name in environ}
    if not hosts:
        return Finding(
            check="hub", state="ok", found="this is not a JupyterHub or similar"
        )
    host, name = next(iter(hosts.items()))
    return Finding(
        check="hub",
        state="warn",
        found=f"this is {host} ({name} is set): it may end an idle server, and the "
        "service with it",
        advice="ask who runs it to leave your server alone "
        "(jupyterhub-idle-culler, --timeout), or keep tasks on another machine",
    )


def find_configurations(environ: Mapping[str, str]) -> list[Path]:
    """Return the files in which a Jupyter server finds its settings; few exist."""
    home = environ.get("HOME")
    folders = [
        environ.get("JUPYTER_CONFIG_DIR") or (home and f"{home}/.jupyter"),
        *filter(None, environ.get("JUPYTER_CONFIG_PATH", "").split(os.pathsep)),
        f"{sys.prefix}/etc/jupyter",
        "/usr/local/etc/jupyter",
        "/etc/jupyter",
    ]
    names = [
        f"jupyter_{kind}_config.{end}"
        for kind in ("server", "notebook", "lab")
        for end in ("py", "json")
    ]
    return [Path(folder, name) for folder in folders if folder for name in names]


def check_culling(files: Iterable[Path]) -> Finding:
    """Check whether Jupyter ends idle kernels, or itself."""
    for file in files:
        lines = _read(file, _LARGEST_CONFIGURATION).splitlines()
        text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
        said = {m[1]: int(m[2]) for m in _CULLS.finditer(text)}
        seconds = said.get("shutdown_no_activity_timeout")
        if seconds:
            return Finding(
                check="culling",
                state="warn",
                found=f"{file}: the server ends itself after {seconds} s without "
                "activity",
                advice="if it is a container's first process, the service ends with "
                "it: set shutdown_no_activity_timeout to 0",
            )
        seconds = said.get("cull_idle_timeout")
        if seconds:
            return Finding(
                check="culling",
                state="ok",
                found=f"{file}: idle kernels end after {seconds} s; kept tasks go on, "
                "others end with their kernel",
            )
    return Finding(check="culling", state="ok", found="no setting ends idle kernels")


def find_unit_of(group: str) -> list[str]:
    """Return the systemd units that a process is in, the outermost first.

    Args:
        group: the text of ``/proc/PID/cgroup``. Source: cgroups(7).
    """
    for line in group.splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if names in ("", "name=systemd"):
            return [
                part
                for part in path.split("/")
                if part.endswith((".service", ".scope"))
            ]
    return []


def check_session(
    units: list[str], *, own: str, lingers: bool | None, kills: bool | None
) -> Finding:
    """Check whether the running service outlives the session that started it.

    Args:
        units: the units that it is in, as `find_unit_of` returns them.
        own: the name of the service's own unit.
        lingers: whether this user's units go on after logout; None if not known.
        kills: whether logind kills all of a session at logout; None if not known.
    """
    install = "`ipycron service install`, then `ipycron service restart`"
    innermost = units[-1] if units else ""
    if any(unit.startswith("user@") for unit in units):
        if lingers:
            return _ok("logout", "the service goes on after logout")
        return Finding(
            check="logout",
            state="warn",
            found=_ENDING if lingers is False else _UNKNOWN,
            advice="`loginctl enable-linger`",
        )
    if innermost.startswith("session-"):
        if not kills:
            return _ok("logout", "the service goes on after logout")
        return Finding(
            check="logout",
            state="fail",
            found="logind kills the service at logout (KillUserProcesses=yes)",
            advice=f"{install}, and `loginctl enable-linger`",
        )
    if innermost.endswith(".service") and innermost != own:
        return Finding(
            check="logout",
            state="warn",
            found=f"the service was started within {show_hidden(innermost)} and ends "
            "when that is stopped or restarted",
            advice=install,
        )
    return _ok("logout", "the service is in no session that could end it")


def check_clock(platform: str = sys.platform) -> Finding:
    """Check whether the clock is synchronized, as the kernel says."""
    unknown = Finding(
        check="clock",
        state="warn",
        found="it cannot be found out here whether the clock is synchronized",
        advice="check it on the host: `timedatectl`, or the system settings",
    )
    if platform != "linux":
        return unknown
    try:
        library = ctypes.CDLL(None, use_errno=True)
        # Zeros ask for no change. The buffer outlives the call.
        state = library.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (AttributeError, OSError):
        return unknown
    return judge_clock(state) or unknown


def judge_clock(state: int) -> Finding | None:
    """Return what the answer of `adjtimex` means; None if it is none."""
    if state < 0:
        return None
    if state != _TIME_ERROR:
        return _ok("clock", "the clock is synchronized")
    return Finding(
        check="clock",
        state="warn",
        found="the clock is not synchronized: runs start by it, right or wrong",
        advice="`timedatectl set-ntp true`, or chrony; in a container or a virtual "
        "machine the host's clock counts",
    )


def _ok(check: str, found: str) -> Finding:
    return Finding(check=check, state="ok", found=found)


def _read(path: Path, limit: int = 1 << 16) -> str:
    """Return the beginning of a file; nothing of one that cannot be read."""
    try:
        if not path.is_file():  # a pipe would never end
            return ""
        with path.open("rb") as file:
            return file.read(limit).decode(errors="replace")
    except OSError:
        return ""
