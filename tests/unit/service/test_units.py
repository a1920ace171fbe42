"""Units as text: what is quoted, and what launchd reads."""

import plistlib

import pytest

from ipycron.service.units import (
    COPIED,
    MARK,
    Program,
    choose_variables,
    write_launchd,
    write_systemd,
)


def make_program(*command, about="/opt/venv", **environment):
    """Return what a unit runs."""
    command = command or ("/opt/venv/bin/python", "-P", "-m", "ipycron", "serve")
    return Program(command=command, environment=environment, about=about)


def read_setting(unit, name):
    """Return the values of a setting."""
    start = f"{name}="
    lines = [line for line in unit.splitlines() if line.startswith(start)]
    return [line.removeprefix(start) for line in lines]


def test_unit_of_a_plain_path_is_easy_to_read():
    """No quotes, no shell, no variable that nobody has set."""
    unit = write_systemd(make_program(), exit_codes=(75, 78))
    assert unit.startswith(f"{MARK}\n[Unit]\n")
    command = "/opt/venv/bin/python -P -m ipycron serve"
    assert read_setting(unit, "ExecStart") == [command]
    assert read_setting(unit, "Environment") == []
    assert read_setting(unit, "RestartPreventExitStatus") == ["75 78"]
    assert read_setting(unit, "WantedBy") == ["default.target"]


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("/a b/python", '"/a b/python" serve'),
        ("/100%/python", '"/100%%/python" serve'),
        ("/$x/python", '/bin/sh -c "exec \\"$$0\\" \\"$$@\\"" "/$$x/python" serve'),
        ("/a\nb/python", '/bin/sh -c "exec \\"$$0\\" \\"$$@\\"" "/a\\nb/python" serve'),
    ],
)
def test_path_of_the_program_is_one_word(path, written):
    """In one line, whatever is in it."""
    unit = write_systemd(make_program(path, "serve"), exit_codes=())
    assert read_setting(unit, "ExecStart") == [written]


@pytest.mark.parametrize("about", ["a\nExecStartPre=/bin/evil", "a\\", "\x1b[2J", "%n"])
def test_description_is_one_line_without_effect(about):
    """A folder's name adds no setting."""
    unit = write_systemd(make_program(about=about), exit_codes=())
    assert read_setting(unit, "ExecStartPre") == []
    (said,) = read_setting(unit, "Description")
    assert said.isprintable()
    assert not said.endswith("\\")
    assert "%n" not in said.replace("%%", "")


def test_only_chosen_variables_are_copied():
    """Any other may be a secret."""
    environ = dict.fromkeys(COPIED, "value") | {"API_TOKEN": "secret", "HOME": "/h"}
    kept, left_out = choose_variables(environ)
    assert set(kept) == set(COPIED)
    assert left_out == []
    assert choose_variables({"PATH": "", "TZ": "UTC"}) == ({"TZ": "UTC"}, [])


@pytest.mark.parametrize("value", ["/bin:\udcff", "a\x00b", "a\x1bb", "a\x7fb"])
def test_variable_that_no_unit_can_have_is_named(value):
    """It is left out: systemd would ignore it without a word to us."""
    assert choose_variables({"PATH": value, "TZ": "UTC"}) == ({"TZ": "UTC"}, ["PATH"])


def test_agent_of_launchd_has_the_same_command():
    """And is not restarted when it was stopped."""
    program = make_program("/a b/py'<&>", "serve", TZ="UTC")
    agent = plistlib.loads(write_launchd(program, label="ipycron-0123"))
    assert agent["ProgramArguments"] == ["/a b/py'<&>", "serve"]
    assert agent["EnvironmentVariables"] == {"TZ": "UTC"}
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert (agent["Label"], agent["RunAtLoad"]) == ("ipycron-0123", True)


@pytest.mark.parametrize("path", ["/a\x07b/python", "/a\udcff/python"])
def test_agent_cannot_have_what_xml_has_not(path):
    """An error, not a file that launchd refuses."""
    with pytest.raises(ValueError, match=r"surrogates|control"):
        write_launchd(make_program(path), label="ipycron-0123")
