"""A small zygote for tests of the shell: forks a child for every cell.

A program. Reads pickled requests (a list of cells each) on stdin and answers with a
list of reports on stdout. All cells of a request run at the same time, each in a
child of its own whose stdout and stderr are pipes, as a worker's are.

`Zygote` is the client that tests use.
"""

# No pathlib in a zygote, every error is a report, and forking is what it is for.
# ruff: noqa: PTH110, PTH115, PTH123, PTH208, BLE001, TID251

from __future__ import annotations

import gc
import importlib
import os
import pickle
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
from dataclasses import asdict

import cloudpickle

from ipycron.process.shell.cell import CellShell, prepare_shell

DEADLINE = 20.0


def _read_exactly(size):
    data = sys.stdin.buffer.read(size)
    return data if len(data) == size else None


def _describe_process():
    return {
        "threads": threading.active_count(),
        "os_threads": len(os.listdir("/proc/self/task")),
        "descriptors": sorted(
            os.readlink(f"/proc/self/fd/{fd}")
            for fd in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{fd}")
        ),
        "modules": sorted(sys.modules),
    }


def _measure_private():
    with open("/proc/self/smaps_rollup") as rollup:
        fields = [line.split() for line in rollup]
    sizes = {words[0]: int(words[1]) for words in fields if words[-1] == "kB"}
    return sizes["Private_Dirty:"] + sizes["Private_Clean:"]


def _describe_outcome(outcome):
    error = outcome.error
    try:
        result = cloudpickle.dumps(outcome.result)
    except Exception:
        result = cloudpickle.dumps(repr(outcome.result))
    return {
        "is_ok": outcome.is_ok,
        "result": result,
        "error": None if error is None else (type(error).__name__, _to_text(error)),
        "code": getattr(error, "code", None),
        "lines": []
        if error is None
        else [
            (frame.f_code.co_filename, line)
            for frame, line in _walk(error.__traceback__)
        ],
        "text": outcome.traceback_text,
        "ansi": outcome.traceback_ansi,
    }


def _to_text(error):
    try:
        return str(error)
    except OSError:
        return "unprintable"


def _walk(trace):
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _interrupt(*_):
    raise KeyboardInterrupt


def _send(*_):
    signal.raise_signal(signal.SIGINT)


def _run_cell(cell, report):
    displays = report["displays"] = []
    sys.path.insert(0, cell.get("path", ""))
    backend = os.environ.pop("MPLBACKEND")  # not yet known to what is imported first
    for name in cell.get("preload", ()):
        importlib.import_module(name)
    os.environ["MPLBACKEND"] = cell.get("backend", backend)
    started = time.perf_counter()
    shell = CellShell(publish=lambda shown: displays.append(asdict(shown)))
    if cell.get("snapshot"):
        pickled, buffers = cell["snapshot"]
        namespace = pickle.loads(pickled, buffers=[bytearray(b) for b in buffers])
    else:
        namespace = cell.get("namespace")
    try:
        shell.load(
            cell["source"],
            namespace,
            extensions=cell.get("extensions", ()),
            filename=cell.get("filename", "<cell>"),
        )
    except BaseException as error:
        report["load_error"] = (
            type(error).__name__,
            str(error),
            getattr(error, "lineno", None),
            getattr(error, "text", None),
        )
        return
    loaded = time.perf_counter()
    outcomes = report["outcomes"] = []
    for ctx in cell.get("contexts", [None]):
        if cell.get("alarm"):
            seconds, number = cell["alarm"]  # with 0 the cell sets it itself
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGALRM, _interrupt if number == "SIGALRM" else _send)
            signal.setitimer(signal.ITIMER_REAL, seconds)
        before = time.perf_counter()
        outcomes.append(_describe_outcome(shell.run(ctx)))
        outcomes[-1]["seconds"] = time.perf_counter() - before
        signal.setitimer(signal.ITIMER_REAL, 0)
    report["load_seconds"] = loaded - started
    report["private"] = _measure_private()
    report["process"] = _describe_process()
    report["out"] = len(sys.modules["__main__"].Out)


def _start(cell):
    pipes = {name: os.pipe() for name in ("stdout", "stderr", "report")}
    pid = os.fork()
    if pid == 0:
        try:
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.dup2(pipes["stdout"][1], 1)
            os.dup2(pipes["stderr"][1], 2)
            for read_end, _ in pipes.values():
                os.close(read_end)
            report = {}
            _run_cell(cell, report)
            with open(pipes["report"][1], "wb") as end:
                pickle.dump(report, end)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(99)
        os._exit(0)
    for _, write_end in pipes.values():
        os.close(write_end)
    return pid, {name: read_end for name, (read_end, _) in pipes.items()}


def _collect(children):
    selector = selectors.DefaultSelector()
    data = [dict.fromkeys(ends, b"") for _, ends in children]
    for index, (_, ends) in enumerate(children):
        for name, fd in ends.items():
            selector.register(fd, selectors.EVENT_READ, (index, name))
    deadline = time.monotonic() + DEADLINE
    while selector.get_map() and (left := deadline - time.monotonic()) > 0:
        for key, _ in selector.select(left):
            index, name = key.data
            chunk = os.read(key.fd, 65536)
            data[index][name] += chunk
            if not chunk:
                selector.unregister(key.fd)
                os.close(key.fd)
    for key in list(selector.get_map().values()):
        os.kill(children[key.data[0]][0], signal.SIGKILL)
        os.close(key.fd)
    reports = []
    for (pid, _), parts in zip(children, data, strict=True):
        _, status = os.waitpid(pid, 0)
        report = pickle.loads(parts["report"]) if parts["report"] else {}
        report["stdout"] = parts["stdout"].decode()
        report["stderr"] = parts["stderr"].decode()
        report["status"] = os.waitstatus_to_exitcode(status)
        reports.append(report)
    return reports


class Zygote:
    """Runs cells in children of one prepared process."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.preparation = self._receive()

    def run(self, *cells):
        """Return the reports of cells that run in parallel."""
        data = pickle.dumps(cells)
        self._process.stdin.write(struct.pack("<Q", len(data)) + data)
        self._process.stdin.flush()
        return self._receive()

    def close(self):
        """End the zygote."""
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(DEADLINE) == 0

    def _receive(self):
        (size,) = struct.unpack("<Q", self._process.stdout.read(8))
        return pickle.loads(self._process.stdout.read(size))


def _main():
    out = os.fdopen(os.dup(1), "wb")
    before = _describe_process()
    prepare_shell()
    after = _describe_process()
    prepare_shell()
    gc.collect()
    gc.freeze()
    answer = {"before": before, "after": after}
    while True:
        data = pickle.dumps(answer)
        out.write(struct.pack("<Q", len(data)) + data)
        out.flush()
        if (header := _read_exactly(8)) is None:
            out.close()
            return
        cells = pickle.loads(_read_exactly(struct.unpack("<Q", header)[0]))
        answer = _collect([_start(cell) for cell in cells])


if __name__ == "__main__":
    _main()
