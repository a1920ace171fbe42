"""Completion in editors and notebooks (Jedi), and type checkers."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jedi
import pytest

ROOT = Path(__file__).parents[2]
TYPED = """
import ipycron

def add() -> int:
    return 1

reveal_type(ipycron.schedule("* * * * *", add).execute().result())
ipycron.schedule("* * * * *", add, nam="x")
ipycron.on("task:strted", print)
"""
TASK = "import ipycron\ntask = ipycron.schedule('0 9 * * *', 'a.py')\n"


def read_output(command):
    """Return a checker's output; fail if it reports an error."""
    return subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=ROOT
    ).stdout


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import ipycron\nipycron.sche", "schedule"),
        ("import ipycron\nipycron.create_t", "create_task"),
        ("from ipycron import Cron", "CronExpression"),
        ("import ipycron\nipycron.schedule('', 'a.py', no_ov", "no_overlap="),
        ("import ipycron\nipycron.create_task('', 'a.py', max_ex", "max_executions="),
        ("import ipycron\nipycron.Event.EXECUTION_F", "EXECUTION_FINISHED"),
        (f"{TASK}task.exec", "execute"),
        (f"{TASK}task.execute().res", "result"),
        (f"{TASK}task.last_run.fin", "finished_at"),
        ("from ipycron import coordinate\ncoordinate.SQL", "SQLiteRunCoordinator"),
    ],
)
def test_jedi_completes(code, expected):
    """Names, options, attributes of what is returned."""
    here = jedi.InterpreterEnvironment()  # a process of its own would be a leak
    project = jedi.Project(ROOT, sys_path=sys.path)
    found = jedi.Script(code, project=project, environment=here).complete()
    assert expected in [completion.name_with_symbols for completion in found]


@pytest.mark.timeout(120)
def test_mypy_knows_results_and_refuses_what_is_not_there(tmp_path):
    """As in `tests/typing`, for a user's script."""
    script = tmp_path / "script.py"
    script.write_text(TYPED)
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path), str(script)]
    said = read_output(command)
    assert 'Revealed type is "int"' in said.replace("builtins.", "")
    assert 'Unexpected keyword argument "nam"' in said
    assert "script.py:9: error: Argument 1" in said


@pytest.mark.timeout(120)
def test_pyright_knows_results_and_refuses_what_is_not_there(tmp_path):
    """If pyright is installed, in `build/pyright` or on PATH."""
    # Not in the project: JupyterLab would start it as its language server.
    local = ROOT / "build" / "pyright" / "node_modules" / ".bin" / "pyright"
    program = str(local) if local.exists() else shutil.which("pyright")
    if program is None:
        pytest.skip("needs pyright: npm install --prefix build/pyright pyright")
    script = tmp_path / "script.py"
    script.write_text(TYPED)
    command = [program, "--outputjson", "--pythonpath", sys.executable, str(script)]
    said = read_output(command)
    found = json.loads(said)["generalDiagnostics"]
    assert any('is "int"' in each["message"] for each in found)
    rules = {each.get("rule") for each in found if each["severity"] == "error"}
    assert rules == {"reportCallIssue", "reportArgumentType"}
