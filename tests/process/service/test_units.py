"""Units of the service, as a real systemd reads them."""

import json
import os
import sys

import pytest
from polling import eventually
from user_manager import UserManager, find_missing

from ipycron.service.units import Program, choose_variables, write_systemd

_MISSING = find_missing()
pytestmark = pytest.mark.skipif(_MISSING is not None, reason=f"needs {_MISSING}")

REPORT = """#!{python}
import json, os, sys
with open({out!r}, "w") as file:
    words = [os.fsencode(word).hex() for word in [__file__, *sys.argv[1:]]]
    variables = {{k.hex(): v.hex() for k, v in os.environb.items()}}
    json.dump([words, variables], file)
"""
NAMES = [
    "plain",
    "with space",
    "per%cent %n %h",
    "dollar$HOME ${HOME} $$",
    'quo"te',
    "apo'strophe",
    "back\\slash\\n",
    "new\nline",
    "tab\tbed",
    "semi;colon #hash",
    "@-+!:prefix",
    "grüße-数据",
    os.fsdecode(b"undecodable-\xff"),
    "x" * 200,
]


@pytest.fixture(scope="module")
def manager(tmp_path_factory):
    """One systemd for all tests here."""
    manager = UserManager(tmp_path_factory.mktemp("systemd"))
    yield manager
    manager.close()


def write_unit(manager, name, text):
    """Put a unit where a user's units are."""
    path = manager.home / ".config/systemd/user" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    manager.systemctl("daemon-reload")
    return path


@pytest.mark.parametrize("name", NAMES)
def test_unit_passes_every_word_and_variable_on(manager, tmp_path, name):
    """Whatever the path of the environment is; systemd expands nothing in it."""
    out = tmp_path / "out.json"
    folder = tmp_path / name
    folder.mkdir()
    program = folder / "python"
    program.write_text(REPORT.format(python=sys.executable, out=str(out)))
    program.chmod(0o755)
    words = [name, "100%", "$HOME", "${HOME}", '"', "'", "\\", "", " ", "a\nb", "%%"]
    kept, left_out = choose_variables({"PATH": f"/bin:{folder}", "TZ": "UTC"})
    unit = write_systemd(
        Program(command=(str(program), *words), environment=kept, about=str(folder)),
        exit_codes=(75, 78),
    )
    write_unit(manager, "ipycron-words.service", unit)
    manager.systemctl("start", "ipycron-words.service")
    got, variables = json.loads(eventually(lambda: out.exists() and out.read_text()))
    assert [bytes.fromhex(word) for word in got] == [
        os.fsencode(word) for word in (program, *words)
    ]
    assert variables[b"TZ".hex()] == b"UTC".hex()
    if left_out:
        assert left_out == ["PATH"]
        return
    assert bytes.fromhex(variables[b"PATH".hex()]) == os.fsencode(kept["PATH"])


def test_unit_is_valid_to_systemd_analyze(manager, tmp_path):
    """Not one warning: no setting is unknown, no value is ignored."""
    command = (sys.executable, "-P", "-m", "ipycron", "serve")
    unit = write_systemd(
        Program(command=command, environment={"TZ": "UTC"}, about="50% \\"),
        exit_codes=(75, 78),
    )
    path = write_unit(manager, "ipycron-valid.service", unit)
    done = manager.run("systemd-analyze", "--user", "verify", str(path))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    said = manager.systemctl("show", path.name, "-p", "KillMode,OOMPolicy,Description")
    assert "KillMode=mixed" in said
    assert "OOMPolicy=continue" in said
    assert "Description=ipycron: kept tasks of 50%" in said
