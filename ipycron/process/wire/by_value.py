"""Pickles by value what a notebook or script defines, even where pickle would not.

Pickle and cloudpickle send some objects by their name only: functions with a cache,
new types. A worker's `__main__` does not have these names. Here such objects are sent
with their contents, or refused when they are pickled, never when they are loaded.
"""

from __future__ import annotations

import contextlib
import functools
import linecache
import pickle
import sys
import typing
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle

from ipycron.process.wire import identity
from ipycron.process.wire.sources import find_lines, name_cell, register_source

Reduced = Any
"""What `__reduce__` returns: a tuple, or a name."""

_NO_FILE = "<dynamic-code>"
MAINS = frozenset({"__main__", "__mp_main__"})
"""Names of modules that differ from process to process."""

_PROTOCOL = 5
_DISPATCHER: Any = functools.singledispatch(print)
_DISPATCHER_PARTS = frozenset({"register", "dispatch", "registry", "_clear_cache"})
_MODULE_PARTS = frozenset({"__builtins__", "__loader__", "__spec__", "__cached__"})


class ByValuePickler(cloudpickle.Pickler):  # type: ignore[misc] # has no types
    """Cloudpickle that sends more by value, and nothing as a name in `__main__`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._kinds: dict[type, bool] = {}
        self._made: dict[int, ModuleType] = {}  # here, by the id of their variables

    def reducer_override(self, obj: Any) -> Reduced:
        """Return how an object is rebuilt; refuse one that would travel as a bare name.

        Raises:
            pickle.PicklingError: if a worker would not find the object.
        """
        kind = type(obj)
        reduce = REDUCERS.get(kind)
        if kind is FunctionType and obj.__code__ is _DISPATCHER.__code__:
            reduce = _reduce_dispatcher
        if reduce is not None and not has_home(obj):
            return reduce(obj)
        if issubclass(kind, ModuleType) and is_made_module(obj):
            self._made[id(vars(obj))] = obj
            return _reduce_module(obj)
        if issubclass(kind, type | FunctionType) and (
            is_made_here(obj.__module__) or id(_get_globals(obj)) in self._made
        ):
            return self._reduce_member(obj)
        reduced = super().reducer_override(obj)
        if reduced is NotImplemented and self.describes_itself(kind):
            return self._reduce(obj)
        return reduced

    def describes_itself(self, kind: type) -> bool:
        """Return whether a type itself decides how its instances are pickled."""
        known = self._kinds.get(kind)
        if known is None:
            plain: tuple[Any, ...] = object.__reduce_ex__, object.__reduce__
            known = (kind.__reduce_ex__, kind.__reduce__) != plain
            self._kinds[kind] = known = known or kind in self.dispatch_table
        return known

    def _reduce_member(self, obj: Any) -> Reduced:
        """Send a function or class of a module that was created here."""
        if isinstance(obj, type):
            return cloudpickle.cloudpickle._dynamic_class_reduce(obj)  # noqa: SLF001 - there is no other way in
        reduced = _, new, state, *setter = self._dynamic_function_reduce(obj)
        namespace = _get_globals(obj)
        module = self._made.get(id(namespace), sys.modules.get(obj.__module__))
        if module is None or vars(module) is not namespace:
            return reduced  # a decorator's, from elsewhere
        state[1]["__globals__"] = {}
        return _make_member, (new[0], module, new[-1]), state, *setter

    def _reduce(self, obj: Any) -> Reduced:
        """Do what pickle does, and check the name if that is all it returns."""
        reduce = self.dispatch_table.get(type(obj))
        reduced = obj.__reduce_ex__(_PROTOCOL) if reduce is None else reduce(obj)
        if isinstance(reduced, str) and pickle.whichmodule(obj, reduced) in MAINS:  # type: ignore[attr-defined] # not in its stub
            raise pickle.PicklingError(
                f"only its name, {reduced!r}, can be sent, which a worker does not know"
            )
        return reduced


def _get_globals(obj: Any) -> Any:
    return getattr(obj, "__globals__", None)


def has_home(obj: Any) -> bool:
    """Return whether a worker can find the object by name, in a module on disk."""
    name = getattr(obj, "__module__", None)
    if not isinstance(name, str) or name in MAINS:
        return False
    module: Any = sys.modules.get(name)
    if module is None or is_made_here(name):
        return False
    if name in cloudpickle.list_registry_pickle_by_value():
        return False
    path = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None)
    for part in str(path).split("."):
        module = getattr(module, part, None)
    return module is obj


def is_made_module(module: ModuleType) -> bool:
    """Return whether a module must be sent with its contents."""
    name = module.__name__
    return name not in sys.modules or is_made_here(name)


def is_made_here(name: str | None) -> bool:
    """Return whether a module cannot be imported elsewhere.

    Made with `types.ModuleType`, or loaded from a file that is not on `sys.path`.
    """
    root = (name or "").partition(".")[0]
    if root in MAINS or root not in sys.modules:
        return False
    return _is_made_here(root, id(sys.modules[root]), tuple(sys.path))


@functools.lru_cache(1024)
def _is_made_here(root: str, _identity: int, _path: tuple[str, ...]) -> bool:
    if root in sys.builtin_module_names or root in sys.stdlib_module_names:
        return False
    module = sys.modules[root]
    if module.__spec__ is None and getattr(module, "__file__", None) is None:
        return True
    for finder in sys.meta_path:
        with contextlib.suppress(Exception):  # a finder of the user's
            if finder.find_spec(root, None) is not None:
                return False
    return True


# --- functions with a cache ---------------------------------------------------------


def _reduce_cached(function: Any) -> Reduced:
    """Send a function of `lru_cache` or `cache`, with an empty cache."""
    parameters = function.cache_parameters()
    attributes = {k: v for k, v in vars(function).items() if k != "cache_parameters"}
    arguments = function.__wrapped__, parameters["maxsize"], parameters["typed"]
    return _make_cached, arguments, attributes


def _make_cached(function: Any, maxsize: int | None, typed: bool) -> Any:  # noqa: FBT001 - a pickle has positions only
    return functools.lru_cache(maxsize, typed)(function)


def _reduce_cached_property(cached: functools.cached_property[Any]) -> Reduced:
    """Send a cached property without the lock that it has before Python 3.12."""
    attributes = {k: v for k, v in vars(cached).items() if k != "lock"}
    return functools.cached_property, (cached.func,), attributes


# --- functions that dispatch by type --------------------------------------------------


def _reduce_dispatcher(function: Any) -> Reduced:
    """Send a function of `singledispatch`: all its implementations."""
    attributes = {k: v for k, v in vars(function).items() if k not in _DISPATCHER_PARTS}
    named = {
        name: getattr(function, name)
        for name in ("__module__", "__name__", "__qualname__", "__doc__")
    }
    state = dict(function.registry), attributes, named
    return _make_dispatcher, (), state, None, None, _fill_dispatcher


def _make_dispatcher() -> Any:
    # The implementations come afterwards: they may refer to the dispatcher itself.
    return functools.singledispatch(print)


def _fill_dispatcher(function: Any, state: tuple[dict[Any, Any], ...]) -> None:
    registry, attributes, named = state
    for kind, implementation in registry.items():
        function.register(kind, implementation)
    vars(function).update(attributes)
    for name, value in named.items():
        setattr(function, name, value)


# --- code ---------------------------------------------------------------------------


def _reduce_code(code: CodeType) -> Reduced:
    """Send code with its source text, if that is in no file."""
    make, arguments = cloudpickle.Pickler.dispatch_table[CodeType](code)
    # From 3.1.3 on cloudpickle drops the file name; tracebacks would lack lines.
    arguments = tuple(
        code.co_filename
        # Some are bytes; python -b warns if they are compared with text.
        if isinstance(argument, str) and argument == _NO_FILE
        else argument
        for argument in arguments
    )
    lines = find_lines(code.co_filename)
    if lines is None:
        return make, arguments
    source = code.co_filename, lines, name_cell(code.co_filename) or code.co_filename
    return _make_code, (source, make, arguments)


def _make_code(
    source: tuple[str, list[str], str], make: Any, arguments: tuple[Any, ...]
) -> CodeType:
    filename, lines, label = source
    if filename not in linecache.cache:
        register_source(filename, "".join(lines), label)
    code: CodeType = make(*arguments)
    return code


# --- types ----------------------------------------------------------------------------


def _reduce_new_type(new_type: Any) -> Reduced:
    arguments = new_type.__name__, new_type.__supertype__
    return typing.NewType, arguments, dict(vars(new_type))


def _reduce_parameter(parameter: Any) -> Reduced:
    """Send a `ParamSpec` or a `TypeVarTuple`."""
    return type(parameter), (parameter.__name__,)


def _reduce_alias(alias: Any) -> Reduced:
    """Send a ``type X = …`` of Python 3.12."""
    return _make_alias, (alias.__name__, alias.__value__, alias.__type_params__)


def _make_alias(name: str, value: Any, parameters: tuple[Any, ...]) -> Any:
    make: Any = typing.TypeAliasType  # type: ignore[attr-defined,unused-ignore] # from Python 3.12
    return make(name, value, type_params=parameters)


# --- modules --------------------------------------------------------------------------


def _reduce_module(module: ModuleType) -> Reduced:
    """Send a module that is in no file, such as ``types.ModuleType("settings")``."""
    name = module.__name__
    is_importable = sys.modules.get(name) is module
    state = {k: v for k, v in vars(module).items() if k not in _MODULE_PARTS}
    return _make_module, (name, is_importable), state, None, None, _fill_module


def _make_module(name: str, is_importable: bool) -> ModuleType:  # noqa: FBT001 - as above
    module = ModuleType(name)
    if is_importable and (identity.is_loading_job() or name not in sys.modules):
        sys.modules[name] = module
    return module


def _fill_module(module: ModuleType, state: dict[str, Any]) -> None:
    vars(module).update(state)


def _make_member(
    code: CodeType, module: ModuleType, closure: tuple[CellType, ...] | None
) -> FunctionType:
    return FunctionType(code, vars(module), None, None, closure)


REDUCERS: dict[type, Any] = {
    type(functools.lru_cache(print)): _reduce_cached,
    functools.cached_property: _reduce_cached_property,
    CodeType: _reduce_code,
    typing.NewType: _reduce_new_type,
    typing.ParamSpec: _reduce_parameter,
    typing.TypeVarTuple: _reduce_parameter,
}
if sys.version_info >= (3, 12):
    REDUCERS[typing.TypeAliasType] = _reduce_alias
