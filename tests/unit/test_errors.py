"""Every exception crosses the process boundary completely."""

from __future__ import annotations

import inspect
import pickle

import pytest

from ipycron import errors
from ipycron.errors import IpycronError

FACTS = {
    "advice": "Do this.",
    "exit_code": 3,
    "expected": "a number",
    "execution_id": "e1",
    "known": ["report"],
    "limit": 100,
    "option": "timeout",
    "path": "job.py",
    "seconds": 5,
    "timeout": 1.5,
    "value": "x",
}
CLASSES = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, IpycronError) and cls is not IpycronError
]


def make(cls):
    """Return an instance of `cls` with plausible facts."""
    parameters = inspect.signature(cls).parameters.values()
    required = [p.name for p in parameters if p.default is p.empty]
    return cls(**{name: FACTS.get(name, name) for name in required})


@pytest.mark.parametrize("cls", CLASSES)
def test_error_pickles_with_its_text_and_facts(cls):
    """Type, text and attributes are the same on the other side."""
    error = make(cls)
    error.add_note("a note")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
    assert copy.__notes__ == ["a note"]


@pytest.mark.parametrize("cls", CLASSES)
def test_error_is_a_built_in_too(cls):
    """Code that does not know ipycron can still catch it."""
    built_ins = (ValueError, TypeError, LookupError, RuntimeError, OSError)
    assert issubclass(cls, built_ins)


@pytest.mark.parametrize("cls", CLASSES)
def test_error_is_listed(cls):
    """`errors.__all__` is complete."""
    assert cls.__name__ in errors.__all__
