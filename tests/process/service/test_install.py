"""`ipycron service install` with a real systemd, and without one."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from polling import eventually
from user_manager import UserManager, find_missing

_MISSING = find_missing()
needs_systemd = pytest.mark.skipif(_MISSING is not None, reason=f"needs {_MISSING}")
COMMAND = [sys.executable, "-P", "-m", "ipycron"]
PATIENCE = 60.0


@pytest.fixture(scope="module")
def manager(tmp_path_factory):
    """One systemd for all tests here."""
    manager = UserManager(tmp_path_factory.mktemp("systemd"))
    yield manager
    manager.close()


class Shell:
    """Runs our command where systemd is, with a folder of its own for the service."""

    def __init__(self, manager, folder):
        self.manager = manager
        self.folder = folder / "state"
        self.variables = {
            "IPYCRON_SERVICE_DIR": str(self.folder),
            "IPYCRON_HISTORY": str(folder / "history.sqlite"),
        }

    def run(self, *words, code=0, **variables):
        """Run it; return its stdout, and stderr for a failure."""
        said = {**self.variables, **variables}
        done = self.manager.run(*COMMAND, *words, **said)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout if code == 0 else done.stderr

    def ask(self, *words):
        """Run it; return its JSON."""
        return json.loads(self.run(*words, "--json"))

    def find_pid(self):
        """Return the running service's process, None without one."""
        done = self.manager.run(
            *COMMAND, "service", "status", "--json", **self.variables
        )
        return json.loads(done.stdout).get("pid") if done.returncode == 0 else None

    def end(self):
        """Leave nothing."""
        self.run("service", "uninstall")
        self.run("service", "stop", "--timeout", "30")


@pytest.fixture
def shell(manager, tmp_path):
    """A service of this test."""
    shell = Shell(manager, tmp_path)
    yield shell
    shell.end()


def read_unit(shell, unit, name):
    """Return one property of a unit."""
    return shell.manager.systemctl("show", "-P", name, f"{unit}.service")


@needs_systemd
def test_installed_service_is_run_by_systemd(shell):
    """And started again after a crash, but not after a stop."""
    done = shell.ask("service", "install")
    assert (done["is_installed"], done["is_changed"], done["is_managed"]) == (True,) * 3
    unit, pid = done["unit"], done["pid"]
    assert read_unit(shell, unit, "MainPID") == str(pid)
    assert read_unit(shell, unit, "UnitFileState") == "enabled"
    path = Path(done["path"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.parent.parent == shell.manager.home / ".config/systemd"
    assert [p for p in path.parent.iterdir() if p.name.startswith(".")] == []
    assert "ipycron" in (shell.folder / "service.log").read_text()

    os.kill(pid, signal.SIGKILL)
    again = eventually(
        lambda: (new := shell.find_pid()) not in (None, pid) and new,
        "another service",
        PATIENCE,
    )
    assert read_unit(shell, unit, "MainPID") == str(again)

    shell.run("service", "stop")
    eventually(lambda: read_unit(shell, unit, "ActiveState") == "inactive", unit)
    assert not psutil.pid_exists(again)
    assert shell.find_pid() is None


@needs_systemd
def test_installing_twice_changes_nothing(shell):
    """The service goes on, the file stays as it is."""
    first = shell.ask("service", "install")
    before = Path(first["path"]).stat()
    second = shell.ask("service", "install")
    assert second["pid"] == first["pid"]
    assert (second["is_changed"], second["is_managed"]) == (False, True)
    after = Path(first["path"]).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    changed = shell.run("service", "install", TZ="Asia/Tokyo")
    assert "takes effect with `ipycron service restart`" in changed
    assert "Environment=TZ=Asia/Tokyo" in Path(first["path"]).read_text()
    assert shell.find_pid() == first["pid"]


@needs_systemd
def test_running_service_gets_no_second_one(shell):
    """The unit takes its place at the next restart."""
    pid = shell.ask("service", "start")["pid"]
    done = shell.ask("service", "install")
    assert (done["pid"], done["is_managed"]) == (pid, False)
    assert "`ipycron service restart` hands its tasks over" in " ".join(done["notes"])
    assert read_unit(shell, done["unit"], "MainPID") == "0"
    # Asked to start nevertheless, it sees the other one, and is not tried again.
    shell.manager.run("systemctl", "--user", "start", f"{done['unit']}.service")
    eventually(
        lambda: read_unit(shell, done["unit"], "ExecMainStatus") == "75", done["unit"]
    )
    assert read_unit(shell, done["unit"], "NRestarts") == "0"
    assert shell.find_pid() == pid

    new = shell.ask("service", "restart")
    assert new["stopped"] == pid
    assert read_unit(shell, done["unit"], "MainPID") == str(new["pid"])


@needs_systemd
def test_installed_unit_is_what_starts_the_service(shell):
    """A service of its own beside the unit could not be told from a second one."""
    unit = shell.ask("service", "install")["unit"]
    shell.run("service", "stop")
    pid = shell.ask("service", "start")["pid"]
    assert read_unit(shell, unit, "MainPID") == str(pid)


@needs_systemd
def test_uninstalled_service_leaves_nothing(shell):
    """No file, no process, no unit; the store stays."""
    done = shell.ask("service", "install")
    gone = shell.ask("service", "uninstall")
    assert (gone["is_installed"], gone["is_changed"], gone["pid"]) == (
        False,
        True,
        None,
    )
    assert "`ipycron service start`" in " ".join(gone["notes"])
    assert not Path(done["path"]).exists()
    assert read_unit(shell, done["unit"], "LoadState") == "not-found"
    assert not psutil.pid_exists(done["pid"])
    assert (shell.folder / "service.sqlite").exists()
    links = shell.manager.home / ".config/systemd/user/default.target.wants"
    assert not list(links.glob(f"{done['unit']}*"))
    again = shell.ask("service", "uninstall")
    assert (again["is_changed"], again["notes"]) == (False, [])


@needs_systemd
def test_two_environments_have_two_services(manager, tmp_path):
    """Their units do not share a name."""
    shells = [Shell(manager, tmp_path / name) for name in ("a", "b")]
    try:
        done = [shell.ask("service", "install") for shell in shells]
        assert len({each["unit"] for each in done}) == 2
        assert len({each["pid"] for each in done}) == 2
        shells[0].run("service", "uninstall")
        assert shells[1].find_pid() == done[1]["pid"]
    finally:
        for shell in shells:
            shell.end()


@needs_systemd
def test_masked_unit_is_respected(shell):
    """Somebody has decided against it."""
    done = shell.ask("service", "install")
    shell.run("service", "uninstall")
    shell.manager.systemctl("mask", f"{done['unit']}.service")
    error = shell.run("service", "install", code=2)
    assert f"masked: `systemctl --user unmask {done['unit']}.service`" in error
    shell.manager.systemctl("unmask", f"{done['unit']}.service")


@needs_systemd
def test_unit_that_cannot_be_written_changes_nothing(shell):
    """One line says why."""
    config = shell.manager.home / "no-folder"
    config.write_text("")
    error = shell.run("service", "install", code=2, XDG_CONFIG_HOME=str(config))
    assert "cannot be written" in error
    assert error.count("\n") == 1
    assert shell.find_pid() is None


@needs_systemd
def test_unit_that_systemd_does_not_see_is_taken_back(shell, tmp_path):
    """It has another folder for the configuration than this shell."""
    error = shell.run("service", "install", code=2, XDG_CONFIG_HOME=str(tmp_path))
    assert "`systemctl --user enable ipycron-" in error
    assert "Nothing has been changed" in error
    assert list(tmp_path.rglob("*.service")) == []


@needs_systemd
def test_command_that_works_in_this_shell_only_is_refused(shell, tmp_path):
    """As where ipycron is found by a variable that no unit gets."""
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\ntest "$SECRET" = 1 || exit 7\nexec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    program = (
        "import ipycron; from ipycron.process.interpreter import set_executable; "
        f"set_executable({str(python)!r}); from ipycron.cli import main; "
        "raise SystemExit(main(['service', 'install']))"
    )
    done = shell.manager.run(
        sys.executable, "-c", program, SECRET="1", **shell.variables
    )
    assert done.returncode == 2
    assert "fails without the variables of this shell" in done.stderr
    units = shell.manager.home / ".config/systemd/user"
    assert shell.ask("service", "uninstall")["is_changed"] is False
    assert "SECRET" not in "".join(p.read_text() for p in units.glob("*.service"))


@needs_systemd
def test_linger_is_checked(shell):
    """Without it the service ends at logout, and is not there after a reboot."""
    assert shell.ask("service", "install")["lingers"] is None  # nobody knows
    for lingering in (False, True):
        try:
            shell.manager.start_logind(lingering=lingering)
            done = shell.ask("service", "install")
            boot = {
                line["check"]: line
                for line in map(json.loads, shell.run("doctor", "--json").splitlines())
            }["boot"]
        finally:
            shell.manager.stop_logind()
        assert done["lingers"] is lingering
        assert ("`loginctl enable-linger`" in " ".join(done["notes"])) != lingering
        assert boot["state"] == ("ok" if lingering else "warn")


@pytest.mark.skipif(
    Path("/run/systemd/system").is_dir() or sys.platform != "linux",
    reason="this system was started by systemd",
)
@pytest.mark.parametrize("action", ["install", "uninstall"])
def test_system_without_systemd_has_a_way_out(action, tmp_path):
    """One line; nothing to remove is no error."""
    done = subprocess.run(
        [*COMMAND, "service", action],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={
            **os.environ,
            "IPYCRON_SERVICE_DIR": str(tmp_path / "state"),
            "HOME": str(tmp_path),
        },
    )
    if action == "uninstall":
        assert (done.returncode, done.stderr) == (0, "")
        assert "not installed: nothing to remove" in done.stdout
        return
    assert done.returncode == 2
    assert "`ipycron service start`" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "state").exists()
