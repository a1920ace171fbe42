"""Which Python runs background tasks, with which options: the client's, or none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ipycron
from ipycron.errors import PythonNotFound
from ipycron.process.interpreter import make_options

MARK = "IPYCRON_TEST_MARK"
FLAGS = """
import json, sys
sys.path += json.loads(sys.argv[1])
import ipycron

def look():
    import os, sys
    names = ("isolated", "ignore_environment", "no_user_site", "no_site", "optimize",
        "dont_write_bytecode", "bytes_warning", "dev_mode", "utf8_mode")
    flags = [getattr(sys.flags, name) for name in names]
    return [flags, sys.warnoptions, sys._xoptions, os.environ.get("BEACON")]

print(json.dumps(look()))
for launcher in ("fork", "spawn"):
    task = ipycron.schedule("0 0 1 1 *", look, background=True, launcher=launcher)
    task.start().result(20)
    print(json.dumps(task.execute().result(20)))
ipycron.shutdown()
"""


@pytest.mark.parametrize(
    "options",
    [
        ["-I"],
        ["-E"],
        ["-s"],
        ["-S"],
        ["-I", "-S"],
        ["-O"],
        ["-OO"],
        ["-B", "-bb"],
        ["-W", "error::UserWarning", "-W", "ignore::ImportWarning"],
        ["-X", "dev"],
        ["-X", "utf8=1", "-X", "int_max_str_digits=9000"],
        [],
    ],
    ids=" ".join,
)
def test_options_of_the_interpreter_reach_the_workers(tmp_path, options):
    """Options that isolate the client, or change its code, apply to its jobs.

    A `sitecustomize` on PYTHONPATH runs below a client only where it runs in it.
    """
    beacon = tmp_path / "beacon"
    beacon.mkdir()
    (beacon / "sitecustomize.py").write_text(
        f"open({str(tmp_path / 'seen')!r}, 'a').write('x')\n"
        "import os\nos.environ['BEACON'] = 'lit'\n"
    )
    program = tmp_path / "client.py"
    program.write_text(FLAGS)
    packages = [path for path in sys.path if path and Path(path).is_dir()]
    done = subprocess.run(
        [sys.executable, *options, program, json.dumps(packages)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(beacon)},
    )
    looks = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(looks) == 3, done.stderr
    assert looks[1] == looks[0]
    assert looks[2] == looks[0]
    is_isolated = {"-I", "-E", "-S"} & {*options}
    assert (tmp_path / "seen").exists() is not bool(is_isolated)


def test_options_are_those_that_subprocesses_of_python_get():
    """Compared with those of `multiprocessing`, whose function is private."""
    expected = subprocess._args_from_interpreter_flags()
    given = make_options()
    short = "".join(option[1:] for option in given if option[1] not in "WX")
    for option in expected:
        if option[:2] not in ("-W", "-X"):
            assert set(option[1:]) <= set(short)
        elif option[:2] == "-W":
            assert option in given


APP = """#!/bin/sh
echo copy >> "$(dirname "$0")/copies"
exec "{python}" "{program}"
"""
FROZEN = """
import os, sys
sys.executable = {executable!r}
{more}
import ipycron

def work():
    return 1

task = ipycron.schedule("* * * * * *", work, background=True, name="report")
for end in (task.start(), task.execute()):
    error = end.exception(20)
    print(type(error).__name__, error)
inline = ipycron.schedule("* * * * * *", work)
inline.start().result(20)
print(inline.execute().result(20))
ipycron.set_executable({python!r})
task.start().result(20)
print(task.execute().result(20))
ipycron.shutdown()
"""


@pytest.mark.parametrize("kind", ["app", "frozen", "none", "empty"])
def test_program_that_is_not_python_is_never_started(tmp_path, kind):
    """One clear error names the option that helps; inline tasks still work."""
    app = tmp_path / ("app" if kind == "app" else "python-app")
    program = tmp_path / "client.py"
    executable = {"none": None, "empty": ""}.get(kind, str(app))
    more = "sys.frozen = True" if kind == "frozen" else ""
    source = FROZEN.format(executable=executable, more=more, python=sys.executable)
    program.write_text(source)
    app.write_text(APP.format(python=sys.executable, program=program))
    app.chmod(0o755)
    done = subprocess.run(
        [app], capture_output=True, text=True, timeout=60, check=False
    )
    start, run, inline, mended = done.stdout.splitlines() or [done.stderr] * 4
    for line in (start, run):
        assert line.startswith("PythonNotFound")
        assert "set_executable" in line
    assert (inline, mended) == ("1", "1")
    assert (tmp_path / "copies").read_text() == "copy\n"


def test_chosen_python_must_be_there(tmp_path):
    """A typo is refused at once."""
    with pytest.raises(PythonNotFound, match="python3"):
        ipycron.set_executable(tmp_path / "python3")
    ipycron.set_executable(None)
