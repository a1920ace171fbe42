"""Pickles what users define so that one object stays one object.

Everything that travels by value gets a token (`ipycron.process.wire.identity`). What
came from the process that sent a job goes back to it as a reference.
"""

from __future__ import annotations

import builtins
import enum
import functools
import io
import pickle
import sys
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import cloudpickle

from ipycron.process.wire import identity
from ipycron.process.wire.by_value import MAINS, REDUCERS, ByValuePickler

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DEFINITION_BYTES = 1 << 20
"""Of referenced objects; the receiver has them unless it has released them."""

_PROTOCOL = 5
_CACHED: Any = type(functools.lru_cache(print))
_DEFINITIONS = (type, FunctionType, ModuleType, _CACHED)


class Pickler(ByValuePickler):
    """A cloudpickle pickler whose output is loaded within `identity.loading`.

    Attributes:
        referred: objects that were only referenced, by token.
        defines: whether the pickle needs `identity.loading`.
    """

    def __init__(
        self,
        file: Any,
        *,
        buffer_callback: Callable[[pickle.PickleBuffer], object] | None = None,
        is_answer: bool = False,
    ) -> None:
        """Set up pickling to a file.

        Args:
            file: anything with a method `write`.
            buffer_callback: receives the memory of large values, as in `pickle`.
            is_answer: whether the receiver is the process whose job runs here.
        """
        super().__init__(file, _PROTOCOL, buffer_callback)
        self._is_answer = is_answer
        self._ordinary: set[int] = set()
        self._constants: dict[str, dict[int, tuple[str, str]]] = {}
        self.referred: dict[str, object] = {}
        self.defines = False

    def reducer_override(self, obj: Any) -> Any:
        """Return how to pickle an object; NotImplemented for pickle's own way."""
        kind: Any = type(obj)
        if id(kind) in self._ordinary:
            return NotImplemented
        if issubclass(kind, _DEFINITIONS):
            return self._reduce_definition(obj)
        if kind.__reduce_ex__ is enum.Enum.__reduce_ex__:
            return _reduce_member(obj, kind)
        if not self.describes_itself(kind) and kind not in REDUCERS:
            return self._reduce_instance(obj, kind)
        reduced = super().reducer_override(obj)
        if kind not in REDUCERS and not isinstance(reduced, str):
            self._ordinary.add(id(kind))
        return reduced

    def reduce_by_value(self, obj: Any) -> Any:
        """Return how to pickle a class, function or module, apart from its identity."""
        reduced = super().reducer_override(obj)
        if isinstance(obj, _CACHED) and isinstance(reduced, tuple):
            return *reduced, None, None, _update
        if isinstance(obj, ModuleType) and len(reduced) == 2 and len(reduced[1]) == 2:  # noqa: PLR2004 - cloudpickle: its name and its content
            name, content = reduced[1]
            return ModuleType, (name,), content, None, None, _fill_module
        return reduced

    def _reduce_definition(self, obj: Any) -> Any:
        entry = identity.registry.look_up(obj)
        if self._is_answer and entry is not None and entry.is_received:
            self.defines = True
            self.referred[entry.token] = obj
            return identity.resolve, (entry.token, _get_name(obj))
        reduced = self.reduce_by_value(obj)
        if not isinstance(reduced, tuple) or len(reduced) != 6:  # noqa: PLR2004 - with a state and its setter
            return reduced  # by its name
        self.defines = True
        make, args, state, *rest, complete = reduced
        define: Callable[..., Any]
        if isinstance(obj, type):
            # Without cloudpickle's own token, which `identity` replaces.
            token = identity.get_token(obj, args[-2])
            args = (*_add_slots(obj, args)[:-2], None, None)
            define = identity.define_class
        else:
            token = identity.get_token(obj)
            define = identity.define
        state = token, complete, state
        return define, (token, make, *args), state, *rest, identity.set_state

    def _reduce_instance(self, obj: Any, kind: type) -> Any:
        """Preserve the identity of an object that has nothing else: a sentinel."""
        reduced = obj.__reduce_ex__(_PROTOCOL)
        if identity.is_blank_reduction(reduced, kind):
            if place := self._find_constant(obj, kind):
                return identity.find_constant, (*place, kind)
            self.defines = True
            return identity.define_blank, (identity.get_token(obj), kind)
        if _is_its_own_copy(obj, kind):
            place = self._find_anywhere(obj)
            if place is not None:
                return identity.find_constant, (*place, kind)
        return reduced

    def _find_constant(self, obj: object, kind: type) -> tuple[str, str] | None:
        """Return the module and the name of a library's sentinel."""
        if kind is object:
            return self._find_anywhere(obj)
        name = kind.__module__
        return self._list_constants(name).get(id(obj)) if type(name) is str else None

    def _find_anywhere(self, obj: object) -> tuple[str, str] | None:
        for name in list(sys.modules):
            place = self._list_constants(name).get(id(obj))
            if place is not None:
                return place
        return None

    def _list_constants(self, name: str) -> dict[int, tuple[str, str]]:
        """Return the contents of an importable module, by `id`."""
        if name not in self._constants:
            module = sys.modules.get(name)
            listed = self._constants[name] = {}
            if isinstance(module, ModuleType) and not _is_by_value(name):
                for key, value in list(vars(module).items()):
                    if type(key) is str:
                        listed[id(value)] = name, key
        return self._constants[name]


class ErrorPickler(Pickler):
    """Pickles exceptions by their own `__reduce__`, whatever `copyreg` holds."""

    def reducer_override(self, obj: Any) -> Any:
        """Return how to pickle an object; see `Pickler`."""
        if isinstance(obj, BaseException):
            return obj.__reduce_ex__(_PROTOCOL)
        return super().reducer_override(obj)


class _Tracer(Pickler):
    """Remembers the last object it pickled: after an error, the culprit."""

    culprit: object = None

    def reducer_override(self, obj: Any) -> Any:
        """Note the object; see `Pickler`."""
        self.culprit = obj
        return super().reducer_override(obj)


def find_culprit(value: object) -> object:
    """Return the part of a value that cannot be pickled, or None."""
    tracer = _Tracer(io.BytesIO(), buffer_callback=lambda _: None)
    try:
        tracer.dump(value)
    except Exception as error:  # noqa: BLE001 - pickling runs users' code
        is_deep = isinstance(error, RecursionError) or isinstance(
            error.__cause__, RecursionError
        )
        return None if is_deep else tracer.culprit
    return None


def dump_object(
    value: object,
    buffer_callback: Callable[[pickle.PickleBuffer], object] | None = None,
    *,
    is_answer: bool = False,
    pickler: type[Pickler] = Pickler,
) -> tuple[bytes, bytes | None]:
    """Return an object's pickle and the definitions of what it refers to.

    Args:
        value: the object.
        buffer_callback: see `Pickler`.
        is_answer: see `Pickler`.
        pickler: makes the pickle.

    Returns:
        The pickle and its definitions: None if any loader can load the pickle, empty if
        no definitions are needed.
    """
    file = io.BytesIO()
    writer = pickler(file, buffer_callback=buffer_callback, is_answer=is_answer)
    writer.dump(value)
    return file.getvalue(), _dump_definitions(writer) if writer.defines else None


def _dump_definitions(writer: Pickler) -> bytes:
    """Return the definitions, leaving out those that cannot travel.

    Definitions of classes alone are cached: each run of a job returns the same ones,
    and the receiver, which has them, will rarely read them.
    """
    if not writer.referred:
        return b""
    objects = list(writer.referred.values())
    if not all(isinstance(obj, type) for obj in objects):
        return _define(objects)
    key = tuple(writer.referred)
    if key not in _kept:
        if len(_kept) >= _MAX_KEPT:
            _kept.clear()
        _kept[key] = _define(objects)
    return _kept[key]


_kept: dict[tuple[str, ...], bytes] = {}
_MAX_KEPT = 8


def _define(objects: list[object]) -> bytes:
    if stream := _try_dump(objects):
        return pickle.dumps([stream])
    return pickle.dumps([stream for obj in objects if (stream := _try_dump([obj]))])


def _try_dump(objects: list[object]) -> bytes | None:
    """Return the pickle that defines the objects; None if they cannot be pickled."""
    file = _Bounded()
    try:
        Pickler(file).dump(objects)
    except BaseException:  # noqa: BLE001 - pickling runs users' code
        return None
    return file.getvalue()


class _Bounded(io.BytesIO):
    """A file that accepts `MAX_DEFINITION_BYTES` at most."""

    def write(self, data: Any, /) -> int:
        if self.tell() + len(data) > MAX_DEFINITION_BYTES:
            raise OverflowError
        return super().write(data)


def _add_slots(cls: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Create a class with its `__slots__`: cloudpickle sets them only afterwards.

    They would then be a mere attribute, and its objects would have a `__dict__`.
    """
    slots = type.__dict__["__dict__"].__get__(cls).get("__slots__")
    if not slots or not isinstance(args[0], type):  # an enum
        return args
    metaclass, name, bases, names, *rest = args
    return metaclass, name, bases, {**names, "__slots__": slots}, *rest


def _reduce_member(member: Any, cls: Any) -> Any:
    """Pickle an enum member by its name: its value may not even equal itself."""
    name = member._name_
    if cls._member_map_.get(name) is member:
        return identity.find_member, (cls, name)
    return NotImplemented  # of a flag: several


def _is_its_own_copy(obj: Any, kind: Any) -> bool:
    """Return whether a class declares that its objects must not be copied."""
    if not (hasattr(kind, "__copy__") and hasattr(kind, "__deepcopy__")):
        return False
    return obj.__copy__() is obj and obj.__deepcopy__({}) is obj


def _is_by_value(module: str) -> bool:
    if module in MAINS:
        return True
    by_value = cloudpickle.list_registry_pickle_by_value()
    return any(f"{module}.".startswith(f"{name}.") for name in by_value)


def _get_name(obj: Any) -> str:
    if isinstance(obj, ModuleType):
        return f"module {obj.__name__}"
    kind = "class" if isinstance(obj, type) else "function"
    return f"{kind} {obj.__qualname__}"


def _update(obj: Any, attributes: dict[str, Any]) -> None:
    vars(obj).update(attributes)


def _fill_module(module: ModuleType, names: dict[str, Any]) -> None:
    vars(module).update(names)
    vars(module)["__builtins__"] = vars(builtins)
