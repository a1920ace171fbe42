"""Reading a snapshot without a shell."""

import io
import linecache
import pickle
import sys

import cloudpickle
import pytest
from fresh import run_fresh

from ipycron.errors import CaptureError
from ipycron.process.shell.captured import restore, seal
from ipycron.process.wire.identity import loading
from ipycron.process.wire.pickler import dump_object
from ipycron.process.wire.sources import find_label, register_source


def write(*items, buffer_callback=None):
    """Return a stream of items and values, by one pickler."""
    stream = io.BytesIO()
    pickler = cloudpickle.Pickler(stream, 5, buffer_callback)
    for part in [*(part for item in items for part in item), None]:
        pickler.dump(part)
    return stream.getvalue()


def test_restore_returns_variables_by_name():
    """The result contains only variables, no other items."""
    stream = write((("variable", "x", "int"), 1), (("variable", "y", "str"), "b"))
    assert restore(stream) == {"x": 1, "y": "b"}


def test_restore_leaves_magics_out_when_there_is_no_shell():
    """Magics can only be registered with a shell."""
    assert restore(write((("magic", "shout", "magic"), (len, "line")))) == {}


def test_function_brings_the_source_of_its_cell():
    """Tracebacks have its lines and name; a pickle contains them once."""
    register_source("<snapshot test>", "def f():\n    return lambda: 1 / 0\n", "In[7]")
    namespace = {"__name__": "__main__"}
    exec(
        compile(
            linecache.getline("<snapshot test>", 1) + "  return 1",
            "<snapshot test>",
            "exec",
        ),
        namespace,
    )
    pickled = dump_object([namespace["f"], namespace["f"]])[0]
    assert pickled.count(b"lambda: 1 / 0") == 1
    del linecache.cache["<snapshot test>"]
    with loading():
        pickle.loads(pickled)
    assert linecache.getline("<snapshot test>", 2) == "    return lambda: 1 / 0\n"
    assert find_label("<snapshot test>") == "In[7]"
    del linecache.cache["<snapshot test>"]


def test_restore_names_the_variable_that_fails():
    """The error names the variable, not the pickle."""
    stream = pickle.dumps(("variable", "x", "Helper"), protocol=5)
    with pytest.raises(CaptureError, match=r"'x' \(Helper\) cannot be sent") as caught:
        restore(stream + b"cno_such_module\nHelper\n.")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_restore_gives_functions_of_a_notebook_the_main_module():
    """Other functions keep their own namespaces."""
    source = "def f(): return missing"
    for name, is_main in (("__main__", True), ("elsewhere", False)):
        namespace = {"__name__": name}
        exec(source, namespace)
        namespace["f"].__module__ = "__main__"
        stream = write((("variable", "f", "function"), namespace["f"]))
        function = restore(stream)["f"]
        assert (function.__globals__ is vars(sys.modules["__main__"])) is is_main


def test_sealed_snapshot_loads_like_any_object():
    """Unpickling gives the variables; buffers are used, not copied."""
    memory = bytearray(b"abc")
    buffers = []
    item = ("variable", "x", "bytes"), pickle.PickleBuffer(memory)
    stream = write(item, buffer_callback=buffers.append)
    pickled, outer = seal(stream, buffers)
    variables = pickle.loads(pickled, buffers=outer)
    memory[0] = ord("z")
    assert bytes(variables["x"]) == b"zbc"


LOADED = """
import json, sys
import ipycron.process.worker.zygote
from ipycron.process.worker.job import load_job
from ipycron.process.wire.protocol import CellJob
from ipycron.process.wire.payload import pack_pickle
from ipycron.process.shell.cell import prepare_shell
prepare_shell()
before = set(sys.modules)
job = load_job(CellJob("x + 1", "<cell>"), pack_pickle({pickled}, [{stream}]), print)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_prepared_shell_has_all_that_loading_a_cell_imports():
    """Otherwise each worker would import it itself, 2 to 5 ms of its start."""
    pickled, (buffer,) = seal(write((("variable", "x", "int"), 1)), [])
    stream = bytes(buffer.raw())
    assert run_fresh(LOADED.format(pickled=pickled, stream=stream)) == []
