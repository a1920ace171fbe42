"""The job of a task and its surroundings, checked when the task is created."""

# Without pathlib, whose import delays the start of the supervisor by 3 ms.
# ruff: noqa: PTH109, PTH111, PTH113, PTH117, PTH118, PTH119, PTH120
from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from types import CodeType
from typing import TYPE_CHECKING, Any

import msgspec

from ipycron.client.waits import OriginLoop, get_running_loop
from ipycron.errors import CaptureError, InvalidOption, TaskFileNotFound
from ipycron.process.unix import check_background
from ipycron.process.wire.payload import Payload, pack_object
from ipycron.process.wire.places import find_place_in_job
from ipycron.process.wire.protocol import CellJob, FileJob, FunctionJob, Job, Setting
from ipycron.process.worker.job import (
    A_GENERATOR,
    is_generator_function,
    takes_context,
)
from ipycron.scheduling.retry import Matcher

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Iterator

    from ipycron.client.options import TaskOptions


_PACKAGE = __name__.partition(".")[0]
_ADVICE = (
    "Open such things inside the function, or pass what they are made from "
    "(a path, an address) instead"
)


class Background(msgspec.Struct, frozen=True, kw_only=True):
    """A job for a worker, and the payload that belongs to it.

    Attributes:
        code: of a function, where it has any.
    """

    job: Job
    payload: Payload
    label: str
    code: CodeType | None = None


class OnExecutor(msgspec.Struct, frozen=True, kw_only=True):
    """A job for an executor, and the payload that belongs to it; as `Background`."""

    job: Job
    payload: Payload
    executor: Any
    label: str
    code: CodeType | None = None


class Inline(msgspec.Struct, frozen=True, kw_only=True):
    """A function for this process.

    Attributes:
        function: the function.
        wants_context: whether it takes the context.
        loop: the loop of a coroutine function.
        origin: the loop that awaits what a sync function returns.
        label: its name in messages.
    """

    function: Callable[..., Any]
    wants_context: bool
    loop: asyncio.AbstractEventLoop | None
    origin: OriginLoop | None = None
    label: str

    @property
    def has_closed_loop(self) -> bool:
        """Whether it can no longer run: its loop is closed."""
        return self.loop is not None and self.loop.is_closed()

    @property
    def lacks_loop(self) -> bool:
        """Whether it cannot run now: its loop is not running."""
        return self.loop is not None and not self.loop.is_running()


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """A notebook cell with its captured variables, packed by the notebook layer."""

    source: str
    filename: str
    payload: Payload
    extensions: tuple[str, ...] = ()
    left_behind: tuple[str, ...] = ()


Source = Background | Inline | OnExecutor

_NOT_ON_EXECUTOR = ("background", "launcher", "worker_init", "env", "cwd")


def make_source(job: Any, options: TaskOptions) -> Source:
    """Return the job, checked.

    Raises:
        TaskFileNotFound: if a path does not exist.
        CaptureError: if a function cannot be sent to a worker.
        InvalidOption: if it is neither, or does not support an option.
        TypeError: if it requires more than one argument, or is a generator function.
    """
    if options.executor is not None:
        _check_on_executor(options)
    if isinstance(job, Cell):
        if options.args:
            raise InvalidOption(
                option="args",
                value=options.args,
                expected="none for a cell, which uses the notebook's variables",
            )
        if _forks(options.executor):
            raise InvalidOption(
                option="executor",
                value=options.executor,
                expected="an executor whose processes start afresh, for a cell",
                advice="A forked one has a copy of the notebook's own shell. Pass "
                "mp_context=multiprocessing.get_context('spawn') to the pool.",
            )
        cell = CellJob(job.source, job.filename, job.extensions, job.left_behind)
        return _place(cell, job.payload, job.filename, options)
    if isinstance(job, str | os.PathLike):
        if options.background is False:
            raise InvalidOption(
                option="background",
                value=False,
                expected="None or True: a file runs in a worker",
            )
        path = resolve_path(os.fsdecode(job))
        file = FileJob(os.fsencode(path), tuple(map(os.fsencode, options.args)))
        return _place(file, Payload(), os.path.basename(path), options)
    if not callable(job):
        raise InvalidOption(
            option="job",
            value=job,
            expected="a path, a function or a coroutine function",
        )
    return _make_function(job, options)


def bind_arguments(job: Any, options: dict[str, Any]) -> Any:
    """Return a function bound to the `args` and `kwargs` of `options`, else the job.

    A function may take the context beside them, where one argument is still required.

    Raises:
        InvalidOption: if the function does not take them.
    """
    if not callable(job) or not options.keys() & {"args", "kwargs"}:
        return job
    args, kwargs = options.pop("args", ()), options.pop("kwargs", None)
    if not isinstance(args, list | tuple):
        raise InvalidOption(option="args", value=args, expected="a list")
    if not isinstance(kwargs, dict | None) or not all(
        isinstance(name, str) for name in kwargs or ()
    ):
        shown = type(kwargs).__name__  # what is in it may be secret
        raise InvalidOption(
            option="kwargs", value=shown, expected="a dict with str as keys"
        )
    try:
        inspect.signature(job).bind_partial(*args, **(kwargs or {}))
    except ValueError:  # a built-in without a signature
        pass
    except TypeError as error:
        name, value = ("args", args) if args else ("kwargs", [*(kwargs or ())])
        expected = f"what the function takes ({error})"
        raise InvalidOption(option=name, value=value, expected=expected) from None
    return functools.partial(job, *args, **(kwargs or {}))


def _check_inline(options: TaskOptions) -> None:
    """Refuse options that require a process of the job's own."""
    _refuse_options(
        options,
        ("launcher", "worker_init", "env", "cwd"),
        expected="None for a function in this process",
        advice="Use background=True.",
    )


def _refuse_options(
    options: TaskOptions, names: Iterable[str], *, expected: str, advice: str = ""
) -> None:
    for name in names:
        value = getattr(options, name)
        if value is not None:
            raise InvalidOption(
                option=name, value=value, expected=expected, advice=advice
            )


def _forks(executor: Any) -> bool:
    """Return whether an executor's processes are copies of this one."""
    pools = sys.modules.get("concurrent.futures.process")  # slow to import
    if pools is None or not isinstance(executor, pools.ProcessPoolExecutor):
        return False
    context = getattr(executor, "_mp_context", None)
    return context is not None and context.get_start_method() == "fork"


def _check_on_executor(options: TaskOptions) -> None:
    """Refuse options that an executor decides by itself."""
    _refuse_options(
        options,
        _NOT_ON_EXECUTOR,
        expected="None with an executor, which starts its own processes",
    )


def _place(
    job: Job,
    payload: Payload,
    label: str,
    options: TaskOptions,
    *,
    code: CodeType | None = None,
) -> Source:
    """Return a job that can travel, for the executor or for a worker."""
    if options.executor is None:
        check_background(label)
        return Background(job=job, payload=payload, label=label, code=code)
    if isinstance(options.executor, ThreadPoolExecutor) and not isinstance(
        job, FunctionJob
    ):
        raise InvalidOption(
            option="executor",
            value=options.executor,
            expected="an executor of other processes for a file or a cell",
            advice="Files and cells run as __main__.",
        )
    return OnExecutor(
        job=job, payload=payload, executor=options.executor, label=label, code=code
    )


def _make_function(function: Callable[..., Any], options: TaskOptions) -> Source:
    label = _find_label(function)
    wants_context = takes_context(function)
    if is_generator_function(function):
        raise TypeError(f"the job {label!r} is {A_GENERATOR}")
    if options.background or options.executor is not None:
        job = FunctionJob(label.encode("utf-8", "backslashreplace").decode())
        payload, code = _pack_function(function, label), find_code(function)
        return _place(job, payload, label, options, code=code)
    _check_inline(options)
    loop = _get_loop(label) if is_coroutine_function(function) else None
    if loop is None:
        _check_in_thread(options)
    Matcher(options.retries.on)  # raises here what would go wrong at a failure
    origin = get_running_loop() if loop is None else None
    return Inline(
        function=function,
        wants_context=wants_context,
        loop=loop,
        origin=None if origin is None else OriginLoop(origin),
        label=label,
    )


def find_code(function: Any) -> CodeType | None:
    """Return the code that a function runs, None if it is written in C."""
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(function, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _find_label(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__qualname__", None) or type(function).__name__


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Return whether calling it gives a coroutine; looks through partials."""
    while hasattr(function, "func"):
        function = function.func
    call = getattr(function, "__call__", None)  # noqa: B004 - instances with async call
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _get_loop(label: str) -> asyncio.AbstractEventLoop:
    import asyncio  # noqa: PLC0415 - 45 ms, loaded where there is a loop

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise InvalidOption(
            option="job",
            value=label,
            expected="a sync function where no event loop is running",
            advice="Call schedule() inside async code, or use background=True.",
        ) from None


def _pack_function(function: Callable[..., Any], label: str) -> Payload:
    _send_main_by_value()
    try:
        return pack_object(function)
    except Exception as error:
        variable, value = (
            _find_culprit(function) or find_unpicklable(function) or (label, function)
        )
        raise CaptureError(
            variable=variable,
            type_name=type(value).__name__,
            reason=str(error).splitlines()[0] if str(error) else type(error).__name__,
            advice=f"{_ADVICE}.",
        ) from error


def _send_main_by_value() -> None:
    """Pickle the main module of a multiprocessing child by value, as `__main__` is.

    No worker can import it under the name that it has there.
    """
    main = sys.modules.get("__mp_main__")
    if main is not None:
        import cloudpickle  # noqa: PLC0415 - `pack_object` needs it anyway

        cloudpickle.register_pickle_by_value(main)


def _find_culprit(function: Callable[..., Any]) -> tuple[str, Any] | None:
    """Return what in a function cannot be pickled: where it is, and the object."""
    from ipycron.process.wire.pickler import find_culprit  # noqa: PLC0415 - cloudpickle

    culprit = find_culprit(function)
    place = find_place_in_job(function, culprit)
    return (place, culprit) if place else None


def _check_in_thread(options: TaskOptions) -> None:
    """Refuse what would have to end a function that runs in a thread."""
    if options.overlap == "replace":
        raise InvalidOption(
            option="overlap",
            value=options.overlap,
            expected="'allow', 'skip' or 'queue' for an inline function: a thread "
            "cannot be killed",
            advice="Use background=True, or a coroutine function.",
        )
    limits = {"timeout": options.timeout, "retry": options.retries.deadline}
    for name, limit in limits.items():
        if limit is not None:
            what = "None" if name == "timeout" else "no deadline"
            raise InvalidOption(
                option=name,
                value=getattr(options, name),
                expected=f"{what} for an inline function: a thread cannot be killed",
                advice="Use background=True, or a coroutine function.",
            )


def find_unpicklable(function: Callable[..., Any]) -> tuple[str, Any] | None:
    """Return name and value of the first thing a function uses and cannot pickle."""
    try:
        used = inspect.getclosurevars(inspect.unwrap(function))
    except TypeError:
        return None
    for name, value in {**used.nonlocals, **used.globals}.items():
        try:
            pack_object(value)
        except Exception:  # noqa: BLE001 - any failure is what we look for
            return name, value
    return None


def resolve_path(text: str) -> str:
    """Return the absolute path of an existing file.

    A relative path starts at the folder of the file that calls ipycron; in a
    notebook or at a prompt, at the working directory.
    """
    path = os.path.expanduser(text)
    folder = None if os.path.isabs(path) else find_caller_folder()
    full = path if folder is None else os.path.join(folder, path)
    if not os.path.isfile(full):
        is_there = os.path.exists(full)  # noqa: PTH110 - never raises, as isfile
        raise TaskFileNotFound(path=text, folder=folder, is_there=is_there)
    return os.path.realpath(full)


def find_caller_folder() -> str:
    """Return the folder of the nearest calling file outside this package."""
    frame = sys._getframe(1)  # noqa: SLF001 - what inspect.stack() would copy whole
    while frame is not None:
        names = frame.f_globals
        if names.get("__name__", "").partition(".")[0] != _PACKAGE:
            file = names.get("__file__")
            return (
                os.getcwd() if file is None else os.path.dirname(os.path.realpath(file))
            )
        frame = frame.f_back  # type: ignore[assignment]
    return os.getcwd()


MAX_INIT_BYTES = 1024 * 1024
"""Limit of a pickled `worker_init`: one is kept for each task."""


def make_setting(
    *,
    cwd: str,
    env: dict[str, str] | None,
    path: list[str],
    max_result_bytes: int,
    worker_init: Callable[[], Any] | None = None,
    retry_on: tuple[Any, ...] | None = None,
) -> Setting:
    """Return the surroundings of a task that is created now.

    Raises:
        CaptureError: if `worker_init`, or a class in `retry_on`, cannot be sent to a
            worker.
        InvalidOption: if it is too large.
    """
    own = {os.fsencode(n): os.fsencode(v) for n, v in (env or {}).items()}
    return Setting(
        cwd=os.fsencode(cwd),
        env={**os.environb, **own},
        path=tuple(_encode_folders(path)),
        log_level=logging.getLogger().getEffectiveLevel(),
        max_result_bytes=max_result_bytes,
        worker_init=b"" if worker_init is None else _pack_init(worker_init),
        retry_on=pack_failures(retry_on),
    )


def pack_failures(on: tuple[Any, ...] | None) -> bytes:
    """Return `Retry.on` for the process that runs the job; empty for all failures.

    Raises:
        CaptureError: if a class cannot be sent there.
    """
    if on is None:
        return b""
    try:
        return bytes(pack_object(on).open())
    except Exception as error:
        raise CaptureError(
            variable="retry",
            type_name="Retry",
            reason=f"{type(error).__name__}: {error}",
            advice="Give the dotted names of the classes in on=.",
        ) from error


def _pack_init(function: Callable[[], Any]) -> bytes:
    packed = bytes(_pack_function(function, _find_label(function)).open())
    if len(packed) > MAX_INIT_BYTES:
        raise InvalidOption(
            option="worker_init",
            value=_find_label(function),
            expected=f"a function that takes at most {MAX_INIT_BYTES:,} bytes along, "
            f"not {len(packed):,}",
            advice=f"{_ADVICE}.",
        )
    return packed


def get_folder() -> str:
    """Return the working directory. Raises `InvalidOption` if it is gone."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise InvalidOption(
            option="cwd",
            value=None,
            expected="an existing folder: the working directory was deleted",
        ) from None


def _encode_folders(path: Iterable[object]) -> Iterator[bytes]:
    """Return the entries that imports use: they ignore a `Path` in `sys.path`."""
    for folder in path:
        if isinstance(folder, str):
            with contextlib.suppress(UnicodeEncodeError):  # no folder has such a name
                yield os.fsencode(folder)
