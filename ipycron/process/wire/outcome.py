"""Results and errors across the process boundary: nothing is lost, no caller hangs.

The worker encodes, the client decodes on demand. What cannot travel arrives as a
description of itself and the reason; it never vanishes silently.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import traceback
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ipycron.errors import RemoteError
from ipycron.process.wire.describe import (
    SCALARS,
    RoomToRecurse,
    Text,
    call_briefly,
    get_error_text,
    get_short_name,
    get_type_name,
    render,
)
from ipycron.process.wire.payload import (
    Payload,
    pack_bytes,
    pack_object,
    pack_plain,
    unpack,
    unpack_block,
)
from ipycron.process.wire.printable import keep_colours, show_controls, show_hidden
from ipycron.process.wire.sources import name_cells
from ipycron.runlog.output import show_surrogates

if TYPE_CHECKING:
    from ipycron.scheduling.retry import Judgement

_PLAIN_DEPTH = 3
_PLAIN_LENGTH = 100
_MAX_TEXT = 1_000_000
"""Characters of a message, a traceback or a repr that travel as text."""
MAX_ERROR_BYTES = 4 * 1024 * 1024
"""Largest pickle of an exception that is sent; a larger one arrives as text.
It is decoded for listeners and logs, even if no code looks at it."""
_MAX_SUMMARY = 300
_MAX_TRACEBACK_END = 8_000
UNSENT = "not sent: "
"""Prefix of the summary of a result that could not travel; no repr begins with it."""
_MAX_REASON = 1000
_TRACEBACK_SECONDS = 5.0
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
    """Last in an error's chain of causes: where it was raised, in the worker."""

    def __str__(self) -> str:
        return f"\n{keep_colours(self.args[0].rstrip())}"


class _Error(NamedTuple):
    """An exception as plain text, with its pickle if there is one."""

    type_name: str
    message: str
    traceback_text: str
    pickle: bytes | None
    reason: str
    suppresses_context: bool
    cause: tuple[Any, ...] | None


class EncodedError(NamedTuple):
    """An error's payload, and texts that can be read without decoding it.

    Attributes:
        summary: the error in one line.
        traceback_end: the end of its traceback, short enough for a header.
    """

    payload: Payload
    summary: str
    traceback_end: str


def encode_result(value: object, max_bytes: int) -> tuple[Payload, str]:
    """Return a result's payload and its one-line summary. Raises nothing.

    This holds whatever the object does when pickled and whatever the system refuses.
    """
    try:
        with RoomToRecurse():
            return _encode_result(value, max_bytes)
    except BaseException as error:  # noqa: BLE001 - border: job
        name = get_type_name(value)
        reason = _name_reason(error)
        stand_in = Unserializable(type_name=name, text="", reason=reason)
        return pack_plain(stand_in), _summarize_unsent(f"<{name}>", reason)


def _encode_result(value: object, max_bytes: int) -> tuple[Payload, str]:
    summary = summarize(value)
    try:
        is_plain = _is_plain(value, _PLAIN_DEPTH)
        payload = pack_plain(value) if is_plain else pack_object(value, is_answer=True)
    except BaseException as error:  # noqa: BLE001 - pickling runs users' code
        return _replace_result(value, _name_reason(error), summary)
    if payload.size > max_bytes:
        reason = f"{payload.size:,} bytes, more than max_result_bytes={max_bytes:,}"
        return _replace_result(value, reason, summary)
    return payload, summary


def _name_reason(error: BaseException) -> str:
    return f"{get_short_name(error)}: {safe_str(error)}"[:_MAX_REASON]


def _is_plain(value: object, depth: int) -> bool:
    """Return whether plain pickle suffices: for scalars and small collections."""
    kind = type(value)
    if kind in SCALARS:
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
    name = get_type_name(value)
    try:  # noqa: SIM105 - as elsewhere after each run
        _log.warning("a result of type %s could not be sent: %s", name, reason)
    except BaseException:  # noqa: BLE001, S110 - a handler of the job's may be broken
        pass
    stand_in = Unserializable(
        type_name=name, text=_cut(_safe_repr(value)), reason=reason
    )
    return pack_plain(stand_in), _summarize_unsent(summary, reason)


def _summarize_unsent(summary: str, reason: str) -> str:
    return _to_wire(show_hidden(f"{UNSENT}{summary} ({reason})"))


def encode_failure(
    error: BaseException,
    judgement: Judgement,
    max_bytes: int,
    traceback_text: str | None = None,
) -> EncodedError:
    """Return what a run ended with that its job's exception has ended.

    That of a run that is cancelled, or to be run again, is an instruction and no error:
    it travels as its text, and the result is None.
    """
    if judgement.snooze is None and not judgement.is_cancelled:
        return encode_error_in_full(error, max_bytes, traceback_text)
    text = summarize_error(error).partition(": ")[2]
    return EncodedError(pack_plain(None), text, "")


def encode_error(
    error: BaseException, max_bytes: int, traceback_text: str | None = None
) -> tuple[Payload, str]:
    """Return an error's payload and its summary; see `encode_error_in_full`."""
    return encode_error_in_full(error, max_bytes, traceback_text)[:2]


def encode_error_in_full(
    error: BaseException, max_bytes: int, traceback_text: str | None = None
) -> EncodedError:
    """Return an error's payload, its one-line summary and its traceback's end.

    Args:
        error: the exception; its causes are sent too.
        max_bytes: an exception whose pickle is larger, or exceeds `MAX_ERROR_BYTES`, is
            sent as text.
        traceback_text: the traceback, if the caller has a better one.
    """
    said = Text("", is_own=False)
    try:
        with RoomToRecurse():
            said = get_error_text(error)
            if traceback_text is None:
                traceback_text = format_traceback(error, said)
            limit = min(max_bytes, MAX_ERROR_BYTES)
            described = _describe(error, said, limit)
            described = described._replace(traceback_text=traceback_text)
            summary = summarize_error(error, said)
            end = _cut_header(traceback_text)
            return EncodedError(pack_plain(tuple(described)), summary, end)
    except BaseException as failure:  # noqa: BLE001 - border: job
        return _encode_poor_error(error, said, _name_reason(failure))


def _encode_poor_error(error: BaseException, said: Text, reason: str) -> EncodedError:
    """Return the payload of an error when little more than its name can be sent."""
    with contextlib.suppress(BaseException):  # frames may hold memory
        traceback.clear_frames(_get(error, "__traceback__"))
    described = _Error(
        type_name=get_type_name(error),
        message=said.text[:_MAX_REASON],
        traceback_text="",
        pickle=None,
        reason=reason,
        suppresses_context=False,
        cause=None,
    )
    return EncodedError(pack_plain(tuple(described)), summarize_error(error, said), "")


def decode_result(payload: Payload) -> Any:
    """Return the result; an `Unserializable` if it cannot be rebuilt here."""
    try:
        return unpack(payload)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - runs users' code
        reason = f"{type(error).__name__}: {error}"
        return Unserializable(type_name="?", text="", reason=reason)


def decode_error(payload: Payload) -> BaseException:
    """Return the exception, with its own type if it can be rebuilt here.

    Never raises: a caller that waits for an error must get one. The payload stays
    readable: listeners, the history and waiting callers each decode it, in their own
    threads.
    """
    described = _read_error(payload)
    error = _rebuild(described)
    last = error
    while last.__cause__ is not None:
        last = last.__cause__
    set_cause(last, WorkerTraceback(described.traceback_text))
    if keep_colours(text := safe_str(error)) != text:
        with contextlib.suppress(Exception):  # a class may refuse attributes
            error._render_traceback_ = partial(_render, error)  # type: ignore[attr-defined]
    return error


def _render(error: BaseException) -> list[str]:
    """Return what IPython prints for an error whose text holds control sequences."""
    lines = traceback.format_exception(error)
    return keep_colours("".join(lines)).splitlines()


def _read_error(payload: Payload) -> _Error:
    try:
        payload.settle()
        described = _Error(*unpack(payload))
        texts = (described.type_name, described.message, described.traceback_text)
        if all(type(text) is str for text in texts):
            return described
        reason = "it is not one"
    except Exception as failure:  # noqa: BLE001 - a job wrote to its own socket
        reason = f"{type(failure).__name__}: {failure}"
    return _Error(
        type_name="?",
        message=f"an error that cannot be read ({reason})",
        traceback_text="",
        pickle=None,
        reason=reason,
        suppresses_context=False,
        cause=None,
    )


def get_traceback_text(error: BaseException) -> str | None:
    """Return the worker's traceback of a decoded error, or None for a local one."""
    last: BaseException | None = error
    while last is not None:
        if isinstance(last, WorkerTraceback):
            return keep_colours(str(last.args[0]))
        last = last.__cause__
    return None


def read_traceback(value: Payload | BaseException) -> str:
    """Return the traceback text of a failed outcome's value without rebuilding it.

    The value is left unchanged: other threads may still decode it.
    """
    if isinstance(value, BaseException):
        return get_traceback_text(value) or keep_colours(format_traceback(value))
    return keep_colours(_read_error(value).traceback_text)


def summarize(value: object) -> str:
    """Return a short repr. Runs no user code: an unknown type is only named."""
    if value is None:
        return "None"  # the commonest result: one string for all runs that are kept
    if type(value) is int and -_SHORT_INT < value < _SHORT_INT:
        return repr(value)
    try:
        return _to_wire(render(value))
    except Exception:  # noqa: BLE001 - another thread may change it meanwhile
        return _to_wire(f"<{get_type_name(value)}>")


def summarize_error(error: BaseException, said: Text | None = None) -> str:
    """Return ``ValueError: first line of its text``."""
    said = said or get_error_text(error)
    name, lines = get_short_name(error), said.text[:_MAX_TEXT].splitlines()
    text = f"{name}: {lines[0]}" if lines else name
    return show_controls(_to_wire(text))


def _is_ours(file: str) -> bool:
    """Return whether a frame of this file belongs to ipycron and not to the job."""
    return any(room in file for room in _OURS)


def format_traceback(error: BaseException, said: Text | None = None) -> str:
    """Return the traceback's text without the frames of this package at its top."""
    trace = _get(error, "__traceback__")
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return _cut(name_cells(format_trace(error, trace, said)))


def format_trace(error: BaseException, trace: Any, said: Text | None = None) -> str:
    """Return Python's rendering of an error, whatever its own methods do."""

    def render_it(error: BaseException) -> str:
        return "".join(traceback.format_exception(type(error), error, trace))

    said = said or get_error_text(error)
    if said.is_own:
        # Causes, notes and the search for similar names run user code, too.
        with contextlib.suppress(BaseException):
            return call_briefly(render_it, error, _TRACEBACK_SECONDS)
    return render_it(_make_stand_in(error, said))


def _make_stand_in(error: BaseException, said: Text, depth: int = 0) -> BaseException:
    """Return an exception that looks like another and runs no user code."""
    module, _, name = get_type_name(error).rpartition(".")
    cls = type(name, (Exception,), {"__module__": module or "builtins"})
    stand_in: BaseException = cls(said.text)
    if depth < _MAX_CAUSES:
        for link in ("__cause__", "__context__"):
            other = _get(error, link)
            if other is not None:
                copied = _make_stand_in(other, get_error_text(other), depth + 1)
                _set(copied, "__traceback__", _get(other, "__traceback__"))
                _set(stand_in, link, copied)
    _set(stand_in, "__suppress_context__", _get(error, "__suppress_context__"))
    return stand_in


def _describe(
    error: BaseException, said: Text, max_bytes: int, depth: int = 0
) -> _Error:
    pickled, reason = _pickle_error(error, max_bytes)
    cause = _get(error, "__cause__")
    return _Error(
        type_name=get_type_name(error),
        message=_cut(said.text),
        traceback_text="",
        pickle=pickled,
        reason=reason,
        suppresses_context=_get(error, "__suppress_context__"),
        cause=None
        if cause is None or depth >= _MAX_CAUSES
        else tuple(_describe(cause, get_error_text(cause), max_bytes, depth + 1)),
    )


def _pickle_error(error: BaseException, max_bytes: int) -> tuple[bytes | None, str]:
    """Return the pickle, or None and the reason. Checks that it can be rebuilt."""
    name = get_short_name(error)
    if not issubclass(type(error), Exception):
        # Raised again in the client, these would end the kernel or the script.
        return None, f"{name} ends a program"
    try:
        pickled = _dump_error(error)  # type: ignore[arg-type] # as was checked
        if len(pickled) > max_bytes:
            return None, f"{len(pickled):,} bytes, more than {max_bytes:,}"
        rebuilt = unpack_block(memoryview(pickled))
    except BaseException as failure:  # noqa: BLE001 - pickling runs users' code
        return None, _name_reason(failure)
    if get_short_name(rebuilt) != name:
        return None, f"it is rebuilt as {get_short_name(rebuilt)}"
    return pickled, ""


def _dump_error(error: Exception) -> bytes:
    """Return an exception's block, pickled as the exception itself defines.

    A library may have registered a different reducer with `copyreg`, for the whole
    process: tblib, which comes with Dask, rebuilds a SyntaxError without its text.
    """
    if type(error).__module__ == "ipycron.errors":
        # Needs no import: there may be no descriptor left for one.
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
            type_name=show_controls(described.type_name),
            message=keep_colours(described.message),
            traceback_text=described.traceback_text,
            reason=reason,
        )
    if described.cause is not None:
        set_cause(error, _rebuild(_Error(*described.cause)))
    _set(error, "__suppress_context__", described.suppresses_context)
    return error


def set_cause(error: BaseException, cause: BaseException) -> None:
    """Chain an exception to its cause, even if the exception refuses changes."""
    _set(error, "__cause__", cause)


def _set(error: BaseException, name: str, value: object) -> None:
    # Bypass the `__setattr__` of its class: that of a frozen dataclass raises.
    BaseException.__dict__[name].__set__(error, value)


def _get(error: BaseException, name: str) -> Any:
    return BaseException.__dict__[name].__get__(error)


def _to_wire(text: str) -> str:
    """Return a header's text: short, and without lone surrogates."""
    return show_surrogates(text[:_MAX_SUMMARY])[:_MAX_SUMMARY]


def _cut_header(text: str) -> str:
    """Return the end of a traceback's text, where the error is, for a header."""
    return show_surrogates(text[-_MAX_TRACEBACK_END:])


def safe_str(value: BaseException) -> str:
    """Return an error's text, or say what `str` raised."""
    return get_error_text(value).text


def _safe_repr(value: object) -> str:
    try:
        return call_briefly(repr, value)
    except BaseException as error:  # noqa: BLE001 - a user's __repr__
        return f"<repr() raised {get_short_name(error)}>"


def _cut(text: str) -> str:
    if len(text) <= _MAX_TEXT:
        return text
    return f"{text[:_MAX_TEXT]}… ({len(text) - _MAX_TEXT:,} more characters)"
