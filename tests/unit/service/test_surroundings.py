"""The doctor's checks of where the service lives, with real files."""

import json
import os
from pathlib import Path

import pytest

from ipycron.service import surroundings
from ipycron.service.surroundings import (
    check_clock,
    check_container,
    check_culling,
    check_hub,
    check_session,
    find_configurations,
    find_container,
    find_unit_of,
    judge_clock,
)


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        (".dockerenv", "", "docker"),
        ("run/.containerenv", 'engine="podman-4.3.1"', "podman"),
        ("run/systemd/container", "lxc\n", "lxc"),
        ("run/systemd/container", "\x1b[2Jevil" + 1000 * "x", "\\x1b[2Jevil"),
        ("proc/1/cgroup", "12:cpu:/docker/0123456789ab\n", "docker"),
        ("proc/1/cgroup", "5:memory:/kubepods/besteffort/pod1\n", "kubepods"),
        ("proc/1/cgroup", "0::/init.scope\n", None),
        ("proc/1/cgroup", "\xff\x00", None),
    ],
)
def test_container_is_found_by_its_files(tmp_path, name, text, kind):
    """As each engine leaves them."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="latin-1")
    found = find_container({}, tmp_path)
    assert found == kind or (kind is not None and found.startswith(kind))
    assert found is None or len(found) < 60


@pytest.mark.parametrize(
    ("environ", "kind"),
    [
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "Kubernetes"),
        ({"container": "podman"}, "podman"),
        ({"container": ""}, None),
        ({}, None),
    ],
)
def test_container_is_found_by_its_variables(tmp_path, environ, kind):
    """Also where it has no files of its own."""
    assert find_container(environ, tmp_path) == kind


def test_container_whose_folder_is_in_its_layer_loses_tasks(tmp_path):
    """What is on a volume is there again, once something starts the service."""
    folder = tmp_path / "state" / "not" / "there"
    device = tmp_path.stat().st_dev
    line = f"36 35 {os.major(device)}:{os.minor(device)} / / rw - {{}} x rw\n"
    lost = check_container("docker", folder, line.format("overlay"))
    assert lost.state == "warn"
    assert "are lost with it" in lost.found
    assert "on a volume" in lost.advice
    kept = check_container("docker", folder, line.format("ext4"))
    assert kept.state == "warn"
    assert "lost" not in kept.found
    assert "`ipycron service start`" in kept.advice
    assert check_container(None, folder).state == "ok"


@pytest.mark.parametrize("name", surroundings._HOSTS)
def test_hub_is_named_and_its_secrets_are_not(name):
    """Only the names of variables are looked at."""
    environ = {name: "s3cret", "JUPYTERHUB_API_TOKEN": "t0ken"}
    finding = check_hub(environ)
    assert finding.state == "warn"
    assert name in finding.found
    assert "s3cret" not in str(finding)
    assert "t0ken" not in str(finding)
    assert check_hub({"PATH": "/bin", "JUPYTERHUB_API_TOKEN": "t"}).state == "ok"


@pytest.mark.parametrize(
    ("name", "text", "state", "words"),
    [
        (
            "jupyter_server_config.py",
            "c.MappingKernelManager.cull_idle_timeout = 3600",
            "ok",
            "idle kernels end after 3600 s",
        ),
        (
            "jupyter_server_config.json",
            json.dumps({"MappingKernelManager": {"cull_idle_timeout": 600}}, indent=2),
            "ok",
            "idle kernels end after 600 s",
        ),
        (
            "jupyter_notebook_config.py",
            "c.NotebookApp.shutdown_no_activity_timeout=60",
            "warn",
            "the server ends itself after 60 s",
        ),
        (
            "jupyter_server_config.py",
            "# c.MappingKernelManager.cull_idle_timeout = 3600",
            "ok",
            "no setting",
        ),
        (
            "jupyter_server_config.py",
            "c.MappingKernelManager.cull_idle_timeout = 0",
            "ok",
            "no setting",
        ),
        ("jupyter_server_config.py", "\xff\x00(((", "ok", "no setting"),
    ],
)
def test_settings_that_end_kernels_are_found(tmp_path, name, text, state, words):
    """In whichever form Jupyter reads them."""
    (tmp_path / name).write_text(text, encoding="latin-1")
    files = find_configurations({"JUPYTER_CONFIG_DIR": str(tmp_path)})
    finding = check_culling(path for path in files if path.parent == tmp_path)
    assert (finding.state, words in finding.found) == (state, True)


def test_configuration_that_is_a_pipe_is_not_waited_for(tmp_path):
    """Nor a folder, nor one that nobody may read."""
    os.mkfifo(tmp_path / "jupyter_server_config.py")
    (tmp_path / "jupyter_server_config.json").mkdir()
    files = find_configurations({"JUPYTER_CONFIG_DIR": str(tmp_path)})
    assert check_culling(files).state == "ok"


def test_configuration_is_looked_for_where_jupyter_does():
    """Without a home folder, too."""
    assert find_configurations({})
    files = find_configurations({"HOME": "/h", "JUPYTER_CONFIG_PATH": "/a:/b"})
    assert {str(file.parent) for file in files} >= {"/h/.jupyter", "/a", "/b"}


@pytest.mark.parametrize(
    ("group", "units"),
    [
        (
            "0::/user.slice/user-1000.slice/session-3.scope\n",
            ["session-3.scope"],
        ),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service\n",
            ["user@1000.service", "x.service"],
        ),
        ("2:cpu:/a.service\n1:name=systemd:/b.service\n", ["b.service"]),
        ("0::/\n", []),
        ("", []),
        ("nonsense", []),
        ("0::/a:b.service\n", ["a:b.service"]),
    ],
)
def test_units_of_a_process_are_read(group, units):
    """From both versions of control groups."""
    assert find_unit_of(group) == units


@pytest.mark.parametrize(
    ("units", "lingers", "kills", "state"),
    [
        ([], None, None, "ok"),
        (["session-3.scope"], False, False, "ok"),
        (["session-3.scope"], False, True, "fail"),
        (["session-3.scope"], None, None, "ok"),
        (["user@1000.service", "own.service"], True, False, "ok"),
        (["user@1000.service", "own.service"], False, False, "warn"),
        (["user@1000.service", "vte.scope"], None, None, "warn"),
        (["jupyterhub.service"], True, False, "warn"),
        (["own.service"], False, False, "ok"),
    ],
)
def test_logout_is_judged_by_the_unit(units, lingers, kills, state):
    """What ends with a session, and what does not."""
    finding = check_session(units, own="own.service", lingers=lingers, kills=kills)
    assert finding.state == state
    assert bool(finding.advice) == (state != "ok")


def test_clock_is_asked_of_the_kernel():
    """One line, whatever it answers here."""
    finding = check_clock()
    assert finding.check == "clock"
    assert finding.state in ("ok", "warn")
    assert check_clock("darwin").state == "warn"
    assert "cannot be found out" in check_clock("win32").found


@pytest.mark.parametrize(
    ("answer", "state"), [(0, "ok"), (1, "ok"), (5, "warn"), (-1, None)]
)
def test_clock_is_judged_by_its_state(answer, state):
    """Leap seconds are none of our business. Source: adjtimex(2)."""
    finding = judge_clock(answer)
    assert (None if finding is None else finding.state) == state


def test_nothing_of_this_python_is_changed_by_looking(tmp_path):
    """The checks of files read, and no more."""
    before = sorted(Path(tmp_path).rglob("*"))
    find_container({}, tmp_path)
    check_container("docker", tmp_path / "state")
    check_culling(find_configurations({"HOME": str(tmp_path)}))
    assert sorted(Path(tmp_path).rglob("*")) == before
