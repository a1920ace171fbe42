"""A real systemd user instance, in a mount namespace of its own.

It needs root and systemd's programs, but no machine that systemd has booted: /run and
systemd's state are empty here, so that the instance is the only one it knows of.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from polling import eventually
from watching import SESSION

SYSTEMD = Path("/lib/systemd/systemd")
LOGIND = Path("/lib/systemd/systemd-logind")
_PREPARE = """
set -e
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib/systemd
mkdir -p /run/systemd/system /run/dbus /run/user/$(id -u)
chmod 700 /run/user/$(id -u)
exec "$0" --user --log-target=console --log-level=warning
"""


def find_missing():
    """Return what this machine lacks for a user instance; None if it lacks nothing."""
    if os.geteuid() != 0:
        return "root, for a mount namespace"
    for program in (SYSTEMD, "systemctl", "unshare", "nsenter"):
        if shutil.which(program) is None:
            return str(program)
    tried = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/run"],
        capture_output=True,
        check=False,
    )
    return None if tried.returncode == 0 else "the right to mount"


class UserManager:
    """Starts one; `run` runs programs that reach it.

    Args:
        folder: for its home folder and its log.
    """

    def __init__(self, folder):
        self.home = folder / "home"
        self.home.mkdir()
        self.log = folder / "systemd.log"
        environ = {k: v for k, v in os.environ.items() if k != SESSION}
        environ.update(HOME=str(self.home), XDG_RUNTIME_DIR=f"/run/user/{os.getuid()}")
        for name in ("DBUS_SESSION_BUS_ADDRESS", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
            environ.pop(name, None)
        self.environ = environ
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                ["unshare", "-m", "sh", "-c", _PREPARE, SYSTEMD],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environ,
                start_new_session=True,
            )
        self._others = []
        eventually(self._is_up, self.log.read_text)

    def _is_up(self):
        assert self._process.poll() is None, self.log.read_text()
        return self.run("systemctl", "--user", "show", "-p", "Version").returncode == 0

    def _enter(self, words):
        return ["nsenter", "-m", "-t", str(self._process.pid), "--", *words]

    def run(self, *words, timeout=60, cwd="/", **variables):
        """Run a program to its end, with more variables; None takes one away."""
        environ = {**self.environ, **variables}
        return subprocess.run(
            self._enter(words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            cwd=cwd,
            env={name: value for name, value in environ.items() if value is not None},
        )

    def systemctl(self, *words):
        """Ask it; return what it wrote."""
        done = self.run("systemctl", "--user", *words)
        assert done.returncode == 0, (done.stderr, self.log.read_text())
        return done.stdout.strip()

    def start_logind(self, *, lingering=False):
        """Start the daemon that knows who may linger, with its bus."""
        user = "root"
        said = f"mkdir -p /var/lib/systemd/linger; touch /var/lib/systemd/linger/{user}"
        self.run("sh", "-c", said if lingering else "rm -rf /var/lib/systemd/linger")
        self._start("dbus-daemon", "--system", "--nofork", "--nopidfile")
        bus = "/run/dbus/system_bus_socket"
        eventually(lambda: self.run("test", "-S", bus).returncode == 0, bus)
        self._start(str(LOGIND))
        ask = ("loginctl", "show-user", "--property=KillUserProcesses")
        eventually(lambda: self.run(*ask).returncode == 0, "logind")

    def _start(self, *words):
        """Start a program that goes on."""
        self._others.append(
            subprocess.Popen(
                self._enter(words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self.environ,
            )
        )

    def stop_logind(self):
        """End what `start_logind` has started."""
        while self._others:
            process = self._others.pop()
            process.kill()
            process.wait()
        self.run("rm", "-f", "/run/dbus/system_bus_socket")

    def close(self):
        """End it, with all that it has started."""
        self.stop_logind()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
