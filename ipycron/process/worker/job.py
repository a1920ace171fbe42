"""Loaded jobs: a file with a `task`, a script, a function, a notebook cell.

Runs in the worker. A job is loaded once and run many times on the main thread;
what it leaves in its module or namespace is still there at the next run.
"""

from __future__ import annotations

import ast
import inspect
import opcode
import os
import sys
from types import (
    AsyncGeneratorType,
    CodeType,
    FunctionType,
    GeneratorType,
    ModuleType,
)
from typing import TYPE_CHECKING, Any, Protocol

from ipycron.errors import CaptureError, InvalidOption
from ipycron.process.shell.progress import prefer_text_bars
from ipycron.process.wire.describe import SCALARS
from ipycron.process.wire.payload import Payload, unpack
from ipycron.process.wire.protocol import CellJob, FileJob, FunctionJob, Job
from ipycron.process.worker.script import (
    ScriptRunner,
    compile_source,
    is_success,
    read_source,
    run_exit_functions,
)
from ipycron.scheduling.retry import Matcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.scheduling.events import TaskContext
    from ipycron.scheduling.retry import Judgement

TASK_NAME = "task"
_GENERATORS = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
A_GENERATOR = (
    "a generator function: calling it runs nothing of its body. Use a function that "
    "iterates over it, such as `lambda: list(f())`."
)


class LoadedJob(Protocol):
    """A job that is ready to run.

    Attributes:
        is_single_use: whether it is a program, whose process ends with it.
    """

    is_single_use: bool

    def run(self, describe: Callable[[], TaskContext]) -> Any:
        """Run once and return the result; raises what the job raises.

        Args:
            describe: returns the run's context; most jobs take none.
        """

    def end(self) -> None:
        """Do what Python does at the end of a program. Raises nothing.

        Called in a worker before it exits, by itself or because its task is stopped.
        """

    def close(self) -> None:
        """Release what the runs have opened. A worker exits instead of calling this."""


class CellFailed(Exception):
    """A cell's failure, with the error and the shell's traceback."""

    def __init__(self, error: BaseException, traceback_text: str) -> None:
        super().__init__(error, traceback_text)
        self.error = error
        self.traceback_text = traceback_text


def load_job(job: Job, payload: Payload, publish: Callable[[Any], None]) -> LoadedJob:
    """Load a job and return it. Raises what its code raises.

    Args:
        job: what to load.
        payload: the function, or the cell's captured variables.
        publish: called with each rich display of a cell.
    """
    if isinstance(job, FileJob):
        return load_file(job)
    prefer_text_bars()
    if isinstance(job, FunctionJob):
        return FunctionRunner(_load_function(job.label, payload))
    return CellRunner(job, payload, publish)


def call_init(packed: bytes) -> None:
    """Call the option `worker_init`; raises what it raises, with a note."""
    try:
        _load_function("worker_init", Payload(packed))()
    except BaseException as error:
        error.add_note("This was raised by worker_init, before the job was loaded.")
        raise


def make_judge(
    packed: bytes, *, is_program: bool
) -> Callable[[BaseException], Judgement]:
    """Return a function that says what an exception of the job means for its run.

    Args:
        packed: the failures that are repeated, as in `Setting.retry_on`.
        is_program: whether the job is a script.

    Raises:
        InvalidOption: if a class that is named there cannot be imported here.
    """
    on = None
    if packed:
        try:
            # Not as a job, which brings classes of its own: these are the job's.
            on = unpack(Payload(packed))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise InvalidOption(
                option="retry",
                value="on=…",
                expected=f"classes that can be imported where the job runs ({reason})",
            ) from error
    judge = Matcher(on, is_program=is_program).judge

    def judge_cause(error: BaseException) -> Judgement:
        return judge(error.error if isinstance(error, CellFailed) else error)

    return judge_cause


def _load_function(label: str, payload: Payload) -> Callable[..., Any]:
    try:
        function: Callable[..., Any] = unpack(payload, is_job=True)
    except Exception as error:
        raise CaptureError(
            variable=label,
            type_name="function",
            reason=f"it cannot be rebuilt there ({type(error).__name__}: {error})",
            advice="Import or make what it needs inside the function.",
        ) from error
    return function


class FunctionRunner:
    """Calls a function, or runs a coroutine function on the worker's own loop."""

    is_single_use = False

    def __init__(
        self, function: Callable[..., Any], module: ModuleType | None = None
    ) -> None:
        self._function = function
        self._module = module
        self._takes_context = takes_context(function)
        self._runner: Any = None

    def run(self, describe: Callable[[], TaskContext]) -> Any:
        """Call it; see `LoadedJob.run`."""
        arguments = (describe(),) if self._takes_context else ()
        result = self._function(*arguments)
        if type(result) in SCALARS:
            return result  # inspecting its class further would cost a worker 50 kB
        if is_awaitable(result):
            return self._await(follow(result))
        refuse_generator(result)
        return result

    def _await(self, coroutine: Any) -> Any:
        # One loop for all runs: clients and sessions that a job keeps are bound to it.
        if self._runner is None:
            import asyncio  # noqa: PLC0415 - 80 ms that sync jobs save

            self._runner = asyncio.Runner()
        return self._runner.run(coroutine)

    def end(self) -> None:
        """Call the exit functions; see `LoadedJob.end`."""
        run_exit_functions()

    def close(self) -> None:
        """Close the loop and forget the file's module; see `LoadedJob.close`."""
        if self._runner is not None:
            self._runner.close()
        if self._module is not None:
            _forget_module(self._module)


class CellRunner:
    """Runs a notebook cell in the shell that the zygote has warmed."""

    is_single_use = False

    def __init__(
        self, job: CellJob, payload: Payload, publish: Callable[[Any], None]
    ) -> None:
        from ipycron.process.shell.cell import CellShell  # noqa: PLC0415 - IPython

        self._shell = CellShell(publish=publish)
        self._shell.load(
            job.source,
            unpack(payload, is_job=True) if payload.size else {},
            extensions=job.extensions,
            filename=job.filename,
            left_behind=job.left_behind,
        )

    def run(self, describe: Callable[[], TaskContext]) -> Any:
        """Run the cell; its failure is a `CellFailed`."""
        outcome = self._shell.run(describe())
        error = outcome.error
        if error is None:
            return outcome.result
        if isinstance(error, SystemExit) and is_success(error):
            return None
        raise CellFailed(error, outcome.traceback_ansi)

    def end(self) -> None:
        """Call the exit functions; see `LoadedJob.end`."""
        run_exit_functions()

    def close(self) -> None:
        """Close the cell's loop; see `LoadedJob.close`."""
        self._shell.close()


def load_file(job: FileJob, source: bytes | None = None) -> LoadedJob:
    """Return the `task` of a file, or the file as a script.

    A file whose top level binds `task` is a module: it is executed once, here.
    Any other file is a script: only its syntax is checked here.

    Args:
        job: the file.
        source: its text, if the file itself may be on another machine.
    """
    path, args = os.fsdecode(job.path), tuple(map(os.fsdecode, job.args))
    sys.path.insert(0, os.path.dirname(path))  # noqa: PTH120 - as in read_source
    text = read_source(path) if source is None else source
    code = compile_source(text, path)
    if not _binds(code, text, path, TASK_NAME):
        return ScriptRunner(path, args, source)
    sys.argv = [path, *args]
    module = _make_module(path)
    try:
        exec(code, module.__dict__)  # noqa: S102 - as above
        return FunctionRunner(_find_task(module), module)
    except BaseException:
        _forget_module(module)
        raise


def _find_task(module: ModuleType) -> Callable[..., Any]:
    function = getattr(module, TASK_NAME, None)
    if not callable(function):
        file = os.path.basename(module.__file__ or "")  # noqa: PTH119 - as in read_source
        raise TypeError(
            f"{file} defines {TASK_NAME} as {type(function).__name__}, expected "
            f"a function. Define `def {TASK_NAME}():` or `def {TASK_NAME}(ctx):`."
        )
    if is_generator_function(function):
        file = os.path.basename(module.__file__ or "")  # noqa: PTH119 - as above
        raise TypeError(f"{file} defines {TASK_NAME} as {A_GENERATOR}")
    return function  # type: ignore[no-any-return]


def binds_task(source: bytes, filename: str) -> bool:
    """Return whether the top level of a file, branches included, binds `task`.

    Raises:
        SyntaxError: if the file is not Python.
    """
    code = compile_source(source, filename)  # finds errors that parsing does not
    return _binds(code, source, filename, TASK_NAME)


_STORES = (opcode.opmap["STORE_NAME"], opcode.opmap["STORE_GLOBAL"])
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def _binds(code: CodeType, source: bytes, path: str, name: str) -> bool:
    """Return whether a module binds a name in its own scope, in any branch.

    Unreachable code counts, too: such a file is meant to define it. Only then is the
    syntax tree used, which takes 0.15 MB of a worker's memory.
    """
    if _stores(code, name):
        return True
    if (
        source.isascii() and name.encode() not in source
    ):  # only a non-ASCII spelling can differ
        return False
    return _tree_binds(ast.parse(source, path).body, name)


def _stores(code: CodeType, name: str) -> bool:
    """Return whether a module's bytecode binds a name."""
    if name not in code.co_names:
        return False
    argument, words = 0, code.co_code
    for operation, byte in zip(words[::2], words[1::2], strict=True):
        argument = argument << 8 | byte
        if operation == opcode.EXTENDED_ARG:
            continue
        if operation in _STORES and code.co_names[argument] == name:
            return True
        argument = 0
    return False


def _tree_binds(statements: list[ast.stmt], name: str) -> bool:
    """Return whether statements bind a name in their own scope."""
    nodes: list[ast.AST] = [*statements]  # no recursion: a long sum nests deeply
    while nodes:
        node = nodes.pop()
        if _binds_itself(node, name):
            return True
        if isinstance(node, ast.comprehension):
            nodes += [node.iter, *node.ifs]  # its target has a scope of its own
        elif not isinstance(node, _SCOPES):
            nodes += ast.iter_child_nodes(node)
    return False


def _binds_itself(node: ast.AST, name: str) -> bool:
    match node:
        case ast.Name(id=bound, ctx=ast.Store()):
            return bound == name
        case ast.alias(name=bound, asname=alias):
            return (alias or bound.partition(".")[0]) == name
        case (
            ast.FunctionDef(name=bound)
            | ast.AsyncFunctionDef(name=bound)
            | ast.ClassDef(name=bound)
            | ast.ExceptHandler(name=bound)
            | ast.MatchAs(name=bound)
            | ast.MatchStar(name=bound)
            | ast.MatchMapping(rest=bound)
        ):
            return bound == name
    return False


def is_awaitable(value: object) -> bool:
    """Return whether a job's result must be awaited; runs no code of its class."""
    if value is None:
        return False  # most jobs return nothing
    kind = type(value)
    if kind is GeneratorType:
        return inspect.isawaitable(value)  # of `types.coroutine`
    classes = type.__dict__["__mro__"].__get__(kind)
    return any("__await__" in type.__dict__["__dict__"].__get__(c) for c in classes)


async def follow(awaitable: Any) -> Any:
    """Await an awaitable of any kind: loops run coroutines only."""
    return await awaitable


def refuse_generator(result: object) -> None:
    """Raise `TypeError` for the result of a job whose body has not run."""
    if type(result) in {GeneratorType, AsyncGeneratorType}:
        raise TypeError(
            "the job returned a generator, whose body has not run. Iterate over it in "
            "the job, or return a list."
        )


def is_generator_function(function: Any) -> bool:
    """Return whether calling it only creates a generator; looks through partials."""
    if type(function) is FunctionType:
        # Like `inspect`, but saves 0.1 MB of a worker's memory.
        return bool(function.__code__.co_flags & _GENERATORS)
    while hasattr(function, "func"):
        function = function.func
    call = getattr(function, "__call__", None)  # noqa: B004 - instances that generate
    return any(
        inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f)
        for f in (function, call)
    )


def takes_context(function: Callable[..., Any]) -> bool:
    """Return whether a job takes the context: whether it has a required parameter.

    Raises:
        TypeError: if it requires more than one.
    """
    required, is_positional = _find_required(function)
    if len(required) > 1 or not is_positional:
        raise TypeError(
            f"the job requires the arguments ({', '.join(required)}), expected none or "
            "one, the context. Bind the others with functools.partial or a lambda."
        )
    return bool(required)


def _find_required(function: Callable[..., Any]) -> tuple[list[str], bool]:
    """Return the parameters without a default, and whether all are positional."""
    if type(function) is FunctionType and not hasattr(function, "__wrapped__"):
        # Like `inspect.signature`, but saves 0.3 MB of a worker's memory.
        code = function.__code__
        positional = code.co_argcount - len(function.__defaults__ or ())
        names = code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount]
        keywords = [n for n in names if n not in (function.__kwdefaults__ or ())]
        return [*code.co_varnames[:positional], *keywords], not keywords
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return [], True  # a built-in without a signature
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = [
        parameter
        for parameter in parameters
        if parameter.default is parameter.empty and parameter.kind not in variable
    ]
    is_positional = all(p.kind is not p.KEYWORD_ONLY for p in required)
    return [parameter.name for parameter in required], is_positional


def _make_module(path: str) -> ModuleType:
    """Return an empty module for the file, under its own name if that is free."""
    stem = os.path.basename(path).rpartition(".")[0]  # noqa: PTH119 - as above
    name = stem if stem.isidentifier() else "ipycron_task"
    if name in sys.modules:
        name = f"ipycron_task_{name}"
    module = ModuleType(name)
    module.__file__ = path
    sys.modules[name] = module
    import cloudpickle  # noqa: PLC0415 - warm in the zygote

    # The client cannot import this module, so its classes travel by value.
    cloudpickle.register_pickle_by_value(module)
    return module


def _forget_module(module: ModuleType) -> None:
    import cloudpickle  # noqa: PLC0415 - `_make_module` has imported it

    cloudpickle.unregister_pickle_by_value(module)
    if sys.modules.get(module.__name__) is module:
        del sys.modules[module.__name__]
