"""What editors and type checkers see: signatures, the stub, the event names."""

import ast
import contextlib
import importlib
import inspect
import re
import typing
from dataclasses import fields
from pathlib import Path

import pytest

import ipycron
from ipycron.api.task import get_record
from ipycron.client.options import TaskOptions
from ipycron.errors import UnknownOption
from ipycron.scheduling.events import Event, EventName

ROOT = Path(__file__).parents[2]
STUB = ast.parse(Path(ipycron.__file__).with_suffix(".pyi").read_text())


@pytest.mark.parametrize("function", [ipycron.schedule, ipycron.create_task])
def test_signature_names_every_option_with_its_default(function):
    """The signatures agree with the declarations in `TaskOptions`."""
    parameters = inspect.signature(function).parameters.values()
    keywords = [p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    shown = {parameter.name: parameter.default for parameter in keywords}
    assert shown.pop("kwargs") is None  # they are bound to the function, not options
    assert shown == {field.name: field.default for field in fields(TaskOptions)}
    assert all(p.annotation is not p.empty for p in keywords)


def test_both_signatures_are_the_same_but_for_what_they_do():
    """An option added to one must be added to the other."""
    one, other = map(inspect.signature, (ipycron.schedule, ipycron.create_task))
    assert one == other


def test_docstring_describes_every_option():
    """The docstring of `schedule` is complete."""
    described = inspect.getdoc(ipycron.schedule)
    assert [f.name for f in fields(TaskOptions) if f"{f.name}: " not in described] == []


@pytest.mark.parametrize("function", [ipycron.schedule, ipycron.create_task])
def test_unknown_option_is_refused_with_a_suggestion(function):
    """Explicit parameters have not made it a bare `TypeError`."""
    with pytest.raises(UnknownOption, match="Did you mean 'no_overlap'"):
        function("* * * * *", lambda: None, no_overlaps=True)


def test_stub_has_every_public_name():
    """Everything that `import ipycron` offers is completed by editors."""
    (listed,) = [n.value for n in STUB.body if isinstance(n, ast.Assign)]
    imported = [a for n in STUB.body if isinstance(n, ast.ImportFrom) for a in n.names]
    assert ast.literal_eval(listed) == ipycron.__all__
    assert {alias.asname for alias in imported} == set(ipycron.__all__)


def test_stub_imports_each_name_from_where_it_is():
    """A wrong stub misleads; each of its imports is executed here."""
    for node in STUB.body:
        if isinstance(node, ast.ImportFrom):
            module = __import__(node.module, fromlist=["x"])
            for alias in node.names:
                assert getattr(module, alias.name) is getattr(ipycron, alias.asname)


def test_task_shows_public_names_only():
    """Tab completion is a user interface; see CONTRIBUTING.md."""
    shown = {name for name in dir(ipycron.Task) if not name.startswith("_")}
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (listed,) = re.findall(r"`Task` shows (.*?)\n\n", text, re.DOTALL)
    assert shown == set(re.findall(r"`(\w+)`", listed))


def test_contributing_names_only_what_exists():
    """The map of the code leads to files, rooms, classes and methods that are there."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    before, departures = text.split("## Where the code departs")
    # The left column of that table has former names.
    departures = re.sub(r"^\| [^|]* \|", "|", departures, flags=re.MULTILINE)
    named = set(re.findall(r"`([\w./]+)`", before + departures)) - FOREIGN
    assert len(named) > 100
    assert sorted(name for name in named if not exists(name)) == []


def test_contributing_names_every_module_of_the_service():
    """Each has one concept; the map says which."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    modules = {path.name for path in (ROOT / "ipycron/service").glob("[a-z]*.py")}
    assert len(modules) > 20
    assert sorted(n for n in modules if f"`service/{n}`" not in text) == []


FOREIGN = {".venv", "H", "LW", "RLock", "Logger.callHandlers", "os.fork"}
FOREIGN |= {"threading.Event"}
CODE = {path: path.read_text() for path in (ROOT / "ipycron").rglob("*.py")}
CLASSES = set(re.findall(r"^class (\w+)", "\n".join(CODE.values()), re.MULTILINE))


def exists(name):
    """Return whether a name is a path, a class, a method or a module's attribute."""
    if "/" in name or name.endswith((".py", ".toml")):
        paths = [ROOT / name, ROOT / "ipycron" / name]
        return any(p.exists() for p in paths) or any((ROOT / "ipycron").rglob(name))
    head, _, rest = name.partition(".")
    if head[0].isupper():
        # A method, or a field of a message.
        member = re.compile(rf"^    (def {rest}\(|{rest}:)", re.MULTILINE)
        return head in CLASSES and (not rest or any(map(member.search, CODE.values())))
    if not rest:
        return True  # a word: an option, a thread, a room
    path = name.removeprefix("ipycron.")
    with contextlib.suppress(ImportError):
        return bool(importlib.import_module(f"ipycron.{path}"))
    place, _, attribute = f"ipycron.{path}".rpartition(".")
    return hasattr(importlib.import_module(place), attribute)


def test_listener_receives_the_very_task_that_the_user_holds():
    """Listeners get the same handle object as the user."""
    task = ipycron.create_task("0 0 1 1 *", lambda: None)
    assert ipycron.get_task(task.id) is task
    assert ipycron.get_tasks()[task.name] is task
    assert get_record(task).handle is task
    ipycron.shutdown(0)


def test_event_names_are_those_of_the_events():
    """Type checkers know every event, and no others."""
    assert set(typing.get_args(EventName)) == {"*", *map(str, Event)}
