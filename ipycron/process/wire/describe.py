"""Describes users' objects cheaply, whatever they do.

`render` runs no user code and looks at a few items only. Where an object's own text is
wanted, `call_briefly` asks for it: once, for at most a second.
"""

from __future__ import annotations

import _signal
import sys
import threading
from contextlib import contextmanager
from itertools import islice
from types import WrapperDescriptorType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

BRIEFLY = 1.0
"""Seconds that an object's own text may take."""
MAX_NAME = 200
"""Characters of a class's name."""
SCALARS = (type(None), bool, int, float, str, bytes)
_CONTAINERS = {list: "[]", tuple: "()", set: "{}", frozenset: ("frozenset({", "})")}
_SIZED = {*_CONTAINERS, dict, str, bytes, bytearray}
_STR = BaseException.__str__  # of a sole argument: its own str
_MAX_CHARACTERS = 120
_HALF = (_MAX_CHARACTERS - 3) // 2
_MAX_ITEMS = 8
_MAX_RENDERED = 60
_MAX_DEPTH = 6
_MAX_BITS = 2000
"""Bits of an integer that is written out: below any digit limit of Python's."""
_MAX_PLAIN_ITEMS = 1000
_REPEAT = 0.05  # seconds until code that catches everything is interrupted again


class Text(NamedTuple):
    """What an exception says.

    Attributes:
        text: its text.
        is_own: whether the text is the exception's own: False if that would only show a
            large value, which is rendered instead, and False if it failed.
    """

    text: str
    is_own: bool


class TookTooLong(BaseException):
    """Raised in user code that takes too long to describe something."""


def get_type_name(value: object) -> str:
    """Return an object's class with its module; run no code of it or its metaclass."""
    cls = type(value)
    name = _cut_name(type.__dict__["__qualname__"].__get__(cls))
    module = type.__dict__["__module__"].__get__(cls)
    if not isinstance(module, str) or module in ("builtins", "__main__"):
        return name
    return f"{_cut_name(module)}.{name}"


def get_short_name(value: object) -> str:
    """Return the name of an object's class; see `get_type_name`."""
    return _cut_name(type.__dict__["__name__"].__get__(type(value)))


def _cut_name(name: str) -> str:
    return str.__getitem__(name, slice(MAX_NAME))  # a plain string, of any subclass


def render(value: object) -> str:
    """Return a short repr of built-in values; anything else is only named."""
    return _Renderer().render(value, _MAX_DEPTH)


class _Renderer:
    """Renders one value and counts what it has rendered."""

    def __init__(self) -> None:
        self._left = _MAX_RENDERED

    def render(self, value: Any, depth: int) -> str:
        """Return a value's text."""
        self._left -= 1
        kind = type(value)
        if kind is str or kind is bytes:
            return _render_text(value)
        if kind is int and value.bit_length() > _MAX_BITS:
            return f"<int of {value.bit_length():,} bits>"
        if kind in SCALARS:
            return _shorten(repr(value))
        if kind is dict or kind in _CONTAINERS:
            return self._render_container(value, kind, depth)
        return f"<{get_type_name(value)}>"

    def _render_container(self, value: Any, kind: Any, depth: int) -> str:
        begin, end = "{}" if kind is dict else _CONTAINERS[kind]
        if not value:
            return repr(value)
        if depth == 0 or self._left <= 0:
            return f"{begin}...{end}"
        # Each in one step: another thread of the job may be changing the container.
        if kind is dict:
            pairs = list(islice(value.items(), _MAX_ITEMS))
            parts = [
                f"{self.render(k, depth - 1)}: {self.render(v, depth - 1)}"
                for k, v in pairs
            ]
        else:
            items = list(islice(value, _MAX_ITEMS))
            parts = [self.render(item, depth - 1) for item in items]
        if len(value) > len(parts):
            parts.append("...")
        comma = "," if kind is tuple and len(value) == 1 else ""
        return f"{begin}{', '.join(parts)}{comma}{end}"


def _render_text(value: Any) -> str:
    """Return the repr of a str or bytes; of a long one, both ends."""
    if len(value) <= _MAX_CHARACTERS:
        return _shorten(repr(value))
    begin, end = value[:_MAX_CHARACTERS], value[-_MAX_CHARACTERS:]
    return f"{repr(begin)[:_HALF]}...{repr(end)[-_HALF:]}"


def _shorten(text: str) -> str:
    if len(text) <= _MAX_CHARACTERS:
        return text
    return f"{text[:_HALF]}...{text[-_HALF:]}"


def get_error_text(error: BaseException) -> Text:
    """Return an exception's text. Raises nothing."""
    try:
        if type(type(error).__str__) is WrapperDescriptorType:  # a built-in class's
            arguments: Any = BaseException.__dict__["args"].__get__(error)
            shown = arguments[0] if len(arguments) == 1 else arguments
            is_text = type(shown) is str and type(error).__str__ is _STR
            if not (is_text or _is_small(shown)):
                return Text(render(shown), is_own=False)
            if all(type(argument) in SCALARS for argument in arguments):
                return Text(str(error), is_own=True)
        return Text(call_briefly(str, error), is_own=True)
    except BaseException as failure:  # noqa: BLE001 - a user's __str__
        text = f"<str() raised {get_short_name(failure)}>"
        return Text(text, is_own=False)


def _is_small(value: Any) -> bool:
    """Return whether the repr of a built-in value is cheap."""
    left = _MAX_PLAIN_ITEMS
    pending = [value]
    while pending:
        value = pending.pop()
        kind = type(value)
        if kind is int and value.bit_length() > _MAX_BITS:
            return False
        if kind in _SIZED:
            is_text = kind in (str, bytes, bytearray)
            left -= len(value) // 100 if is_text else len(value)
            if left < 0:
                return False
        if kind is dict:
            pending += value
            pending += value.values()
        elif kind in _CONTAINERS:
            pending += value
    return True


def call_briefly(
    function: Callable[[Any], T], argument: object, seconds: float = BRIEFLY
) -> T:
    """Return what a function returns; raises `TookTooLong` if it takes long.

    On the main thread an alarm interrupts it, unless the process uses an alarm already.
    Elsewhere it runs in a thread of its own, which is abandoned.
    """
    if _is_alarm_free():
        with interrupting(seconds):
            return function(argument)
    return _call_in_thread(function, argument, seconds)


def _is_alarm_free() -> bool:
    if threading.current_thread() is not threading.main_thread():
        return False
    if not hasattr(_signal, "setitimer"):
        return False
    if _signal.getsignal(_signal.SIGALRM) != _signal.SIG_DFL:
        return False
    return not _signal.getitimer(_signal.ITIMER_REAL)[0]


@contextmanager
def interrupting(seconds: float) -> Iterator[None]:
    """Raise `TookTooLong` in the block if it takes long, where alarms work."""
    if not _is_alarm_free():
        yield
        return

    def interrupt(*_: object) -> None:
        raise TookTooLong

    before = _signal.signal(_signal.SIGALRM, interrupt)
    blocked = _signal.pthread_sigmask(_signal.SIG_UNBLOCK, [_signal.SIGALRM])
    try:
        # Twice: the alarm may go off at the very moment when it is cancelled.
        try:
            _signal.setitimer(_signal.ITIMER_REAL, seconds, _REPEAT)
            yield
        finally:
            _signal.setitimer(_signal.ITIMER_REAL, 0)
    finally:
        _signal.setitimer(_signal.ITIMER_REAL, 0)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, blocked)
        _signal.signal(_signal.SIGALRM, before)


def _call_in_thread(
    function: Callable[[Any], T], argument: object, seconds: float
) -> T:
    outcome: list[Any] = []

    def call() -> None:
        try:
            outcome.append((True, function(argument)))
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            outcome.append((False, error))

    thread = threading.Thread(target=call, name="ipycron-describe", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TookTooLong
    is_ok, value = outcome[0]
    if not is_ok:
        raise value
    return value  # type: ignore[no-any-return] # what the function has returned


class RoomToRecurse:
    """Let our own code run even if the job has nearly exhausted the stack limit."""

    __slots__ = ("_limit",)

    def __enter__(self) -> None:
        self._limit = sys.getrecursionlimit()
        if self._limit < _MAX_PLAIN_ITEMS:
            sys.setrecursionlimit(_MAX_PLAIN_ITEMS)

    def __exit__(self, *_: object) -> None:
        if self._limit < _MAX_PLAIN_ITEMS:
            sys.setrecursionlimit(self._limit)
