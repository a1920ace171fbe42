"""The user's classes, functions and modules: one object here, however it arrives.

What `__main__` defines travels by value. cloudpickle's loader resets the attributes of
a class that it already knows, and makes a new function and a new module each time: a
job's result would undo changes that its receiver has made in the meantime. Here
everything that travels by value has a token, and loading never changes what this
process already has:

- `define` creates what is new here, once, and leaves the rest alone;
- `resolve` finds what this process itself has sent. If that no longer exists, it is
  recreated from the definitions that travel with the pickle, which are not read before.

The registry keeps nothing alive that supports weak references.
"""

from __future__ import annotations

import copyreg
import importlib
import pickle
import sys
import threading
import types
import weakref
from contextlib import contextmanager
from os import urandom
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from ipycron.process.unix import call_in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Buffer = bytes | bytearray | memoryview

LOAD_TIMEOUT = 2.0
"""Seconds that a load waits for another one."""
MAX_SENTINELS = 10_000
"""Objects remembered that do not support weak references, such as `object()`."""

_HOOK = "__init_subclass__"

_lock = threading.RLock()
# Another thread may hold it while this one forks.
call_in_child(_lock._at_fork_reinit)  # type: ignore[attr-defined] # noqa: SLF001


class Entry(NamedTuple):
    """What the registry knows of an object.

    Attributes:
        ref: returns the object; None when it is gone.
        token: its name in all processes that have it.
        is_received: whether it arrived with a job: the job's sender can resolve it.
    """

    ref: Callable[[], Any]
    token: str
    is_received: bool


class Registry:
    """Objects and their tokens. Objects are compared by identity, never by `__eq__`."""

    def __init__(self) -> None:
        self._by_address: dict[int, Entry] = {}
        self._by_token: dict[str, Entry] = {}
        self._kept: dict[str, Callable[[], None]] = {}

    def add(self, obj: object, token: str, *, is_received: bool = False) -> None:
        """Remember an object; the first with a token is the one that `find` returns."""
        address = id(obj)

        def forget(ref: object) -> None:
            _drop(self._by_address, address, ref)
            _drop(self._by_token, token, ref)

        try:
            ref: Callable[[], Any] = weakref.ref(obj, forget)
        except TypeError:
            ref = self._keep(obj, token, forget)
        entry = Entry(ref, token, is_received)
        self._by_address[address] = entry
        if self.find(token) is None:
            self._by_token[token] = entry

    def _keep(
        self, obj: object, token: str, forget: Callable[[object], None]
    ) -> Callable[[], Any]:
        """Keep an object without weak references; release the oldest."""

        def ref() -> object:
            return obj

        while len(self._kept) >= MAX_SENTINELS:
            self._kept.pop(next(iter(self._kept)))()
        self._kept[token] = lambda: forget(ref)
        return ref

    def look_up(self, obj: object) -> Entry | None:
        """Return what is known about an object."""
        entry = self._by_address.get(id(obj))
        return entry if entry is not None and entry.ref() is obj else None

    def find(self, token: str) -> Any:
        """Return the object of a token; None if there is none, or no longer."""
        entry = self._by_token.get(token)
        return None if entry is None else entry.ref()


def _drop(table: dict[Any, Entry], key: int | str, ref: object) -> None:
    entry = table.get(key)
    if entry is not None and entry.ref is ref:
        del table[key]


registry = Registry()


def get_token(obj: object, fresh: str = "") -> str:
    """Return an object's token.

    Args:
        obj: the object.
        fresh: the token for an object that has none yet; empty for one that is unique
            among all processes.
    """
    entry = registry.look_up(obj)
    if entry is not None:
        return entry.token
    token = fresh or urandom(16).hex()
    registry.add(obj, token)
    return token


class _Load:
    """One pickle that is being loaded."""

    def __init__(self, definitions: Buffer, *, is_job: bool) -> None:
        self.is_job = is_job
        self.definitions = definitions
        # What was created here, kept at least as long as the load; which of it still
        # lacks its state.
        self.made: dict[str, Any] = {}
        self.unfinished: set[str] = set()

    def find(self, token: str) -> Any:
        """Return what this process has by a token, or None.

        A job brings its own functions along, even those that another job brought
        before: nothing of an earlier run is left in a pool's process.
        """
        if token in self.made:
            return self.made[token]
        found = registry.find(token)
        if found is None:
            found = _find_tracked(token)
        if found is not None and self.is_job:
            entry = registry.look_up(found)
            if isinstance(found, FunctionType) or (entry and entry.is_received):
                return None
        return found

    def add(self, obj: object, token: str) -> None:
        """Let this process find an object from now on."""
        registry.add(obj, token, is_received=self.is_job)
        if isinstance(obj, type):
            _track(token, obj)


class _Loads(threading.local):
    """A thread's loads, innermost last."""

    def __init__(self) -> None:
        self.stack: list[_Load] = []


_loads = _Loads()


@contextmanager
def loading(definitions: Buffer = b"", *, is_job: bool = False) -> Iterator[None]:
    """Enable `define` and `resolve` during one load, in one thread at a time.

    Two loads at once could both create the class that they share. A load that hangs in
    user code must not block all others for ever.

    Args:
        definitions: pickles of what the load may refer to, in a pickled list.
        is_job: whether this loads a job in its worker, not a job's result.
    """
    is_alone = _lock.acquire(timeout=LOAD_TIMEOUT)
    _loads.stack.append(_Load(definitions, is_job=is_job))
    try:
        yield
    finally:
        _loads.stack.pop()
        if is_alone:
            _lock.release()


def is_loading_job() -> bool:
    """Return whether a job is being loaded in this thread."""
    return bool(_loads.stack) and _loads.stack[-1].is_job


def define(token: str, make: Callable[..., Any], *args: Any) -> Any:
    """Return the object of a token; create it if this process has none."""
    load = _loads.stack[-1]
    found = load.find(token)
    if found is None:
        found = load.made[token] = make(*args)
        load.unfinished.add(token)
    return found


def define_class(token: str, make: Callable[..., Any], *args: Any) -> Any:
    """Return the class of a token; a new one is a copy, not a second declaration.

    What the hooks of its bases and its metaclass do to it is part of its state, and so
    are their registries that travel by value. Hooks of libraries run, since this
    process has its own copy of those registries.
    """
    bases = next(arg for arg in args if isinstance(arg, tuple))
    with _without_hooks(bases):
        if isinstance(args[0], type) and registry.look_up(args[0]) is not None:
            return define(token, _make_plain_class, *args)
        return define(token, make, *args)


def _make_plain_class(
    metaclass: Any, name: str, bases: tuple[Any, ...], names: dict[str, Any], *_: object
) -> Any:
    """Return a class with a user's metaclass, made by its library base metaclass."""
    base = next(cls for cls in metaclass.__mro__ if registry.look_up(cls) is None)
    resolved = types.resolve_bases(bases)
    if resolved is not bases:
        names = {**names, "__orig_bases__": bases}
    return base.__new__(metaclass, name, resolved, dict(names))


@contextmanager
def _without_hooks(bases: tuple[Any, ...]) -> Iterator[None]:
    """Keep a user's `__init_subclass__` from running in this thread."""
    hooks = _find_hooks(bases)
    for owner, hook in hooks.items():
        type.__setattr__(owner, _HOOK, _make_stand_in(owner, hook))
    try:
        yield
    finally:
        for owner, hook in hooks.items():
            type.__setattr__(owner, _HOOK, hook)


def _make_stand_in(owner: Any, hook: classmethod[Any, Any, None]) -> Any:
    thread = threading.get_ident()

    def stand_in(cls: Any, /, **options: Any) -> None:
        if threading.get_ident() == thread:
            super(owner, cls).__init_subclass__()
        else:
            hook.__func__(cls, **options)

    return classmethod(stand_in)


def _find_hooks(bases: tuple[Any, ...]) -> dict[Any, classmethod[Any, Any, None]]:
    """Return the user's classes that have an `__init_subclass__`, with that method."""
    return {
        cls: vars(cls)[_HOOK]
        for base in types.resolve_bases(bases)
        for cls in base.__mro__
        if isinstance(vars(cls).get(_HOOK), classmethod)
        and registry.look_up(cls) is not None
    }


def set_state(obj: Any, state: tuple[str, Callable[[Any, Any], object], Any]) -> None:
    """Complete what `define` has created. What was here before is left unchanged."""
    token, complete, inner = state
    load = _loads.stack[-1]
    if token in load.unfinished:
        load.unfinished.remove(token)
        complete(obj, inner)
        load.add(obj, token)


def define_blank(token: str, cls: type) -> Any:
    """Return an object without state, such as a sentinel compared with `is`."""
    load = _loads.stack[-1]
    found = load.find(token)
    if type(found) is not cls or not is_blank(found):
        found = load.made[token] = copyreg.__newobj__(cls)  # type: ignore[attr-defined]
        load.add(found, token)
    return found


def is_blank(obj: Any) -> bool:
    """Return whether an object has no state and its class no pickling of its own."""
    return is_blank_reduction(obj.__reduce_ex__(4), type(obj))


def is_blank_reduction(reduced: Any, cls: type) -> bool:
    """Return whether pickle would only make a new object of the class."""
    return (
        type(reduced) is tuple
        and reduced[0] is copyreg.__newobj__  # type: ignore[attr-defined]
        and len(reduced[1]) == 1
        and reduced[1][0] is cls
        and not any(part is not None for part in reduced[2:])
    )


def find_constant(module: str, name: str, cls: type) -> Any:
    """Return a module's object by name; a new one if its type differs."""
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        found = None
    if type(found) is cls:
        return found
    return copyreg.__newobj__(cls)  # type: ignore[attr-defined]


def find_member(cls: Any, name: str) -> Any:
    """Return a member of an enum."""
    return cls._member_map_[name]


def resolve(token: str, name: str) -> Any:
    """Return an object that this process itself has sent.

    Raises:
        LookupError: if it is gone and its definition was not sent back.
    """
    load = _loads.stack[-1]
    found = load.find(token)
    if found is None and load.definitions:
        streams, load.definitions = load.definitions, b""
        for stream in pickle.loads(streams):  # noqa: S301 - came with what is loaded
            pickle.loads(stream)  # noqa: S301 - as above
        found = load.made.get(token)
    if found is None:
        raise LookupError(
            f"{name} is gone: this process has sent it and has not kept it. Keep it, "
            "or return what it is made of"
        )
    return found


# --- cloudpickle's own table of classes: what it loads is the same object here ------


def _find_tracked(token: str) -> Any:
    module = sys.modules.get("cloudpickle.cloudpickle")
    if module is None:
        return None
    return module._DYNAMIC_CLASS_TRACKER_BY_ID.get(token)  # noqa: SLF001 - it has no other way


def _track(token: str, cls: type) -> None:
    module = sys.modules["cloudpickle.cloudpickle"]
    if _find_tracked(token) is None:
        module._lookup_class_or_track(token, cls)  # noqa: SLF001 - as above
