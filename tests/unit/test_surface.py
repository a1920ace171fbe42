"""What editors and type checkers see: signatures, the stub, the event names."""

import ast
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

STUB = ast.parse(Path(ipycron.__file__).with_suffix(".pyi").read_text())


@pytest.mark.parametrize("function", [ipycron.schedule, ipycron.create_task])
def test_signature_names_every_option_with_its_default(function):
    """The signatures agree with the declarations in `TaskOptions`."""
    parameters = inspect.signature(function).parameters.values()
    keywords = [p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    shown = {parameter.name: parameter.default for parameter in keywords}
    assert shown.pop("kwargs") is None  # they are bound to the function, no option
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
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
    (listed,) = re.findall(r"`Task` shows (.*?)\n\n", text, re.DOTALL)
    assert shown == set(re.findall(r"`(\w+)`", listed))


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
