"""Where one object is inside another, in words: for pickling errors.

Looks at what objects hold without running any of their code.
"""

from __future__ import annotations

import contextlib
import functools
from collections import deque
from types import FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Step = tuple[str, object]

_MOST_SEARCHED = 10_000


def find_place(value: object, part: object) -> str:
    """Return where a part is in a value: ``.pool['a'][0]``; empty if nowhere."""
    return _search([("", value)], part)


def find_place_in_job(job: object, part: object) -> str:
    """Return where a part is among what a job uses: ``self.pool._conn``.

    Empty if it is nowhere or is the job itself.
    """
    return _search(_list_roots(job), part)


def _search(roots: list[Step], part: object) -> str:
    """Return the shortest path to a part, by breadth-first search."""
    for place, root in roots:
        if root is part:
            return place
    seen = {id(root): root for _, root in roots}
    places = deque(roots)
    while places and len(seen) < _MOST_SEARCHED:
        place, holder = places.popleft()
        for step, inner in _list_parts(holder):
            if inner is part:
                return f"{place}{step}"
            if id(inner) not in seen:
                seen[id(inner)] = inner
                places.append((f"{place}{step}", inner))
    return ""


def _list_roots(job: object) -> list[Step]:
    """Return what a job uses, by the names in its code."""
    if isinstance(job, functools.partial):
        args = [(f"args[{index}]", arg) for index, arg in enumerate(job.args)]
        kwargs = [(f"kwargs[{name!r}]", arg) for name, arg in job.keywords.items()]
        return [*args, *kwargs, *_list_roots(job.func)]
    if isinstance(job, MethodType):
        return [("self", job.__self__), *_list_roots(job.__func__)]
    if isinstance(job, FunctionType):
        return [*_list_variables(job), *_list_attributes(job, f"{job.__name__}.")]
    return [("self", job)]


def _list_parts(holder: object) -> Iterator[Step]:
    """Yield what an object holds, and the text that accesses it."""
    if isinstance(holder, FunctionType):
        yield from ((f": {name}", inner) for name, inner in _list_variables(holder))
    elif isinstance(holder, MethodType):
        yield ".__self__", holder.__self__
        yield ".__func__", holder.__func__
    elif isinstance(holder, functools.partial):
        yield ".func", holder.func
        yield from ((f".args[{index}]", arg) for index, arg in enumerate(holder.args))
        yield from ((f".keywords[{n!r}]", arg) for n, arg in holder.keywords.items())
    elif not isinstance(holder, ModuleType):
        yield from _list_items(holder)
        yield from _list_attributes(holder, ".")


def _list_items(holder: object) -> Iterable[Step]:
    """Return the items of a container; for a subclass, those its base class holds."""
    if isinstance(holder, dict):
        items = list(dict.items(holder))
        return ((f"[{_name_key(key)}]", inner) for key, inner in items)
    kind: Any
    for kind in (list, tuple, deque):
        if isinstance(holder, kind):
            inners = enumerate(list(kind.__iter__(holder)))
            return ((f"[{index}]", inner) for index, inner in inners)
    for kind in (set, frozenset):
        if isinstance(holder, kind):
            return (("{…}", inner) for inner in list(kind.__iter__(holder)))
    return ()


def _list_variables(function: FunctionType) -> Iterator[Step]:
    """Yield what a function encloses, its defaults, and the globals that it uses."""
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # it is empty
            yield name, cell.cell_contents
    names = code.co_varnames[: code.co_argcount]
    defaults = function.__defaults__ or ()
    yield from zip(names[len(names) - len(defaults) :], defaults, strict=True)
    yield from (function.__kwdefaults__ or {}).items()
    for name in _find_global_names(code):
        if name in function.__globals__:
            yield name, function.__globals__[name]


def _find_global_names(code: Any) -> Iterator[str]:
    """Yield the names in a function's code and in its nested functions."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, type(code)):
            yield from _find_global_names(constant)


def _list_attributes(holder: object, dot: str) -> Iterator[Step]:
    if isinstance(holder, type):
        attributes = dict(type.__dict__["__dict__"].__get__(holder))
    else:
        attributes = {}
        with contextlib.suppress(AttributeError):  # it has none
            attributes |= object.__getattribute__(holder, "__dict__")
        attributes |= _read_slots(holder)
    for name, inner in attributes.items():
        yield f"{dot}{name}", inner


def _read_slots(holder: object) -> dict[str, object]:
    """Return the values in the `__slots__` of an object's classes."""
    slots = {}
    for cls in type.__dict__["__mro__"].__get__(type(holder)):
        names = type.__dict__["__dict__"].__get__(cls)
        if "__slots__" in names:  # not one written in C
            for name, slot in names.items():
                if type(slot) is MemberDescriptorType:
                    with contextlib.suppress(AttributeError):  # it is empty
                        slots[name] = slot.__get__(holder)
    return slots


def _name_key(key: object) -> str:
    return repr(key) if type(key) in (str, int) else type(key).__name__
