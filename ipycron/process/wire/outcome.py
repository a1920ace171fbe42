"""Results and errors across the process boundary: nothing lost, nobody hangs.

The worker encodes, the client decodes when somebody asks. What cannot travel
arrives as a description of itself and the reason, never as silence.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import reprlib
import traceback
from dataclasses import dataclass
from typing import Any, NamedTuple

from ipycron.errors import RemoteError
from ipycron.process.wire.payload import (
    Payload,
    pack_bytes,
    pack_object,
    pack_plain,
    unpack,
    unpack_block,
)
from ipycron.process.wire.printable import show_controls
from ipycron.process.wire.sources import name_cells

_PLAIN = (type(None), bool, int, float, str, bytes)
_PLAIN_DEPTH = 3
_PLAIN_LENGTH = 100
_MAX_TEXT = 1_000_000
"""Characters of a message, a traceback or a repr that travel as text."""
MAX_ERROR_BYTES = 4 * 1024 * 1024
"""Largest pickle of an exception that travels; one that holds more arrives as text.
It is decoded for listeners and logs, whether or not anybody looks at it."""
_MAX_SUMMARY = 300
UNSENT = "not sent: "
"""What the summary of a result begins with that could not travel; no repr does."""
_SHORT_INT = 10**18
_MAX_CAUSES = 20
_OURS = ("/ipycron/process/", "/ipycron/executors/")

_log = logging.getLogger("ipycron")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unserializable:
    """Stands for a result that could not travel.

    Attributes:
        type_name: the result's class, with its module.
        text: its repr, cut at 1,000,000 characters.
        reason: why it could not be sent or rebuilt.
    """

    type_name: str
    text: str
    reason: str


class WorkerTraceback(Exception):
    """The end of an error's chain of causes: where it was raised, in the worker."""

    def __str__(self) -> str:
        return f"\n{self.args[0].rstrip()}"


class _Error(NamedTuple):
    """An exception as plain text, with its pickle if it has one."""

    type_name: str
    message: str
    traceback_text: str
    pickle: bytes | None
    reason: str
    suppresses_context: bool
    cause: tuple[Any, ...] | None


def encode_result(value: object, max_bytes: int) -> tuple[Payload, str]:
    """Return a result's payload and its one-line summary."""
    summary = summarize(value)
    if _is_plain(value, _PLAIN_DEPTH):
        payload = pack_plain(value)
    else:
        try:
            payload = pack_object(value, is_answer=True)
        except Exception as error:  # noqa: BLE001 - pickling runs users' code
            return _replace_result(value, f"{type(error).__name__}: {error}", summary)
    if payload.size > max_bytes:
        reason = f"{payload.size:,} bytes, more than max_result_bytes={max_bytes:,}"
        return _replace_result(value, reason, summary)
    return payload, summary


def _is_plain(value: object, depth: int) -> bool:
    """Return whether plain pickle does: for scalars, and small containers of them."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if depth == 0 or kind not in (list, tuple, dict, set, frozenset):
        return False
    assert isinstance(value, list | tuple | dict | set | frozenset)
    if len(value) > _PLAIN_LENGTH:
        return False
    if isinstance(value, dict) and not all(
        _is_plain(item, depth - 1) for item in value.values()
    ):
        return False
    return all(_is_plain(item, depth - 1) for item in value)


def _replace_result(value: object, reason: str, summary: str) -> tuple[Payload, str]:
    name = _get_type_name(value)
    with contextlib.suppress(Exception):  # a handler of the job's may be broken
        _log.warning("a result of type %s could not be sent: %s", name, reason)
    stand_in = Unserializable(
        type_name=name, text=_cut(_safe_repr(value)), reason=_cut(reason)
    )
    return pack_plain(stand_in), _to_wire(f"{UNSENT}{summary} ({reason})")


def encode_error(
    error: BaseException, max_bytes: int, traceback_text: str | None = None
) -> tuple[Payload, str]:
    """Return an error's payload and its one-line summary.

    Args:
        error: the exception; its causes travel too.
        max_bytes: an exception whose pickle is larger travels as text, as does one
            of more than `MAX_ERROR_BYTES`.
        traceback_text: the traceback where the caller has a better one.
    """
    if traceback_text is None:
        traceback_text = format_traceback(error)
    limit = min(max_bytes, MAX_ERROR_BYTES)
    payload = pack_plain(tuple(_describe(error, traceback_text, limit, 0)))
    return payload, summarize_error(error)


def decode_result(payload: Payload) -> Any:
    """Return the result; an `Unserializable` where it cannot be rebuilt here."""
    try:
        return unpack(payload)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - runs users' code
        reason = f"{type(error).__name__}: {error}"
        return Unserializable(type_name="?", text="", reason=reason)


def decode_error(payload: Payload) -> BaseException:
    """Return the exception, of its own type where it can be rebuilt here.

    Never raises: who waits for an error must get one. The payload stays readable:
    listeners, the history and whoever waits decode it, each in its own thread.
    """
    described = _read_error(payload)
    error = _rebuild(described)
    last = error
    while last.__cause__ is not None:
        last = last.__cause__
    set_cause(last, WorkerTraceback(described.traceback_text))
    return error


def _read_error(payload: Payload) -> _Error:
    try:
        payload.settle()
        described = _Error(*unpack(payload))
        texts = (described.type_name, described.message, described.traceback_text)
        if all(type(text) is str for text in texts):
            return described
        reason = "it is none"
    except Exception as failure:  # noqa: BLE001 - a job wrote to its own socket
        reason = f"{type(failure).__name__}: {failure}"
    return _Error(
        type_name="?",
        message="an error that cannot be read",
        traceback_text="",
        pickle=None,
        reason=reason,
        suppresses_context=False,
        cause=None,
    )


def unpack_display(payload: Payload) -> Any:
    """Return what the worker's shell published."""
    return unpack(payload)


def get_traceback_text(error: BaseException) -> str | None:
    """Return the worker's traceback of a decoded error, or None for a local one."""
    last: BaseException | None = error
    while last is not None:
        if isinstance(last, WorkerTraceback):
            return str(last.args[0])
        last = last.__cause__
    return None


def read_traceback(value: Payload | BaseException) -> str:
    """Return the traceback's text of a failed outcome's value, rebuilding nothing.

    The value stays as it is: others may still decode it.
    """
    if isinstance(value, BaseException):
        return get_traceback_text(value) or format_traceback(value)
    return _read_error(value).traceback_text


def summarize(value: object) -> str:
    """Return a short repr. Runs no user code: an unknown type is named only."""
    if value is None:
        return "None"  # what most jobs return: one string for all runs that are kept
    if type(value) is int and -_SHORT_INT < value < _SHORT_INT:
        return repr(value)
    if type(value) in _PLAIN or type(value) in (list, tuple, dict, set, frozenset):
        return _to_wire(_short.repr(value))
    return f"<{_get_type_name(value)}>"


def summarize_error(error: BaseException) -> str:
    """Return ``ValueError: first line of its text``."""
    lines = safe_str(error).splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return show_controls(_to_wire(text))


def _is_ours(file: str) -> bool:
    """Return whether a frame of this file runs the job, and is not part of it."""
    return any(room in file for room in _OURS)


def format_traceback(error: BaseException) -> str:
    """Return the traceback's text without the frames of this package at its top."""
    trace = error.__traceback__
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    try:
        lines = traceback.format_exception(type(error), error, trace)
        return _cut(name_cells("".join(lines)))
    except Exception:  # noqa: BLE001 - __str__ of a user's exception may raise
        return summarize_error(error)


class _Short(reprlib.Repr):
    """Reprlib for values of built-in types; what they hold is named, not asked."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 120
        self.maxlist = self.maxtuple = self.maxset = self.maxdict = 8

    def repr_instance(self, x: Any, level: int) -> str:  # noqa: ARG002
        if type(x) in _PLAIN:
            return repr(x)[: self.maxother]
        return f"<{_get_type_name(x)}>"


_short = _Short()


def _describe(
    error: BaseException, traceback_text: str, max_bytes: int, depth: int
) -> _Error:
    pickled, reason = _pickle_error(error, max_bytes)
    cause = error.__cause__
    return _Error(
        type_name=_get_type_name(error),
        message=_cut(safe_str(error)),
        traceback_text=traceback_text,
        pickle=pickled,
        reason=reason,
        suppresses_context=error.__suppress_context__,
        cause=None
        if cause is None or depth >= _MAX_CAUSES
        else tuple(_describe(cause, "", max_bytes, depth + 1)),
    )


def _pickle_error(error: BaseException, max_bytes: int) -> tuple[bytes | None, str]:
    """Return the pickle, or None and the reason. Proves that it can be rebuilt."""
    if not isinstance(error, Exception):
        # Raised again in the client, these would end the notebook or the script.
        return None, f"{type(error).__name__} ends a program"
    try:
        pickled = _dump_error(error)
        if len(pickled) > max_bytes:
            return None, f"{len(pickled):,} bytes, more than {max_bytes:,}"
        rebuilt = unpack_block(memoryview(pickled))
    except Exception as failure:  # noqa: BLE001 - pickling runs users' code
        return None, _cut(f"{type(failure).__name__}: {failure}")
    if type(rebuilt).__name__ != type(error).__name__:
        return None, f"it is rebuilt as {type(rebuilt).__name__}"
    return pickled, ""


def _dump_error(error: Exception) -> bytes:
    """Return the block of an exception, pickled as the exception itself describes it.

    A library may have registered another way with `copyreg`, for the whole process:
    tblib, which comes with Dask, rebuilds a SyntaxError without its text.
    """
    if type(error).__module__ == "ipycron.errors":
        # Nothing to import for it, where there may be no descriptor to do so.
        return pack_bytes(pickle.dumps(error, protocol=5))
    from ipycron.process.wire.pickler import (  # noqa: PLC0415 - as in pack_object
        ErrorPickler,
        dump_object,
    )

    return pack_bytes(*dump_object(error, is_answer=True, pickler=ErrorPickler))


def _rebuild(described: _Error) -> BaseException:
    error: BaseException | None = None
    reason = described.reason
    if described.pickle is not None:
        try:
            error = unpack_block(memoryview(described.pickle))
        except (Exception, SystemExit) as failure:  # noqa: BLE001 - as above
            reason = f"{type(failure).__name__}: {failure}"
    if not isinstance(error, Exception):
        error = RemoteError(
            type_name=described.type_name,
            message=described.message,
            traceback_text=described.traceback_text,
            reason=reason,
        )
    if described.cause is not None:
        set_cause(error, _rebuild(_Error(*described.cause)))
    _set(error, "__suppress_context__", described.suppresses_context)
    return error


def set_cause(error: BaseException, cause: BaseException) -> None:
    """Chain an exception to its cause, also one that refuses to be changed."""
    _set(error, "__cause__", cause)


def _set(error: BaseException, name: str, value: object) -> None:
    # Past the `__setattr__` of its class: a frozen dataclass raises there.
    BaseException.__dict__[name].__set__(error, value)


def _get_type_name(value: object) -> str:
    cls = type(value)
    module = cls.__module__
    return (
        cls.__qualname__
        if module in ("builtins", "__main__")
        else f"{module}.{cls.__qualname__}"
    )


def _to_wire(text: str) -> str:
    """Return a header's text: short, and without lone surrogates."""
    return text[:_MAX_SUMMARY].encode("utf-8", "backslashreplace").decode()


def safe_str(value: object) -> str:
    """Return its text, or what asking for it has raised."""
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - a user's __str__
        return f"<str() raised {type(error).__name__}>"


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - a user's __repr__
        return f"<repr() raised {type(error).__name__}>"


def _cut(text: str) -> str:
    if len(text) <= _MAX_TEXT:
        return text
    return f"{text[:_MAX_TEXT]}… ({len(text) - _MAX_TEXT:,} more characters)"
