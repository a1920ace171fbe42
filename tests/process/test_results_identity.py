"""A job's results and errors change nothing in the receiving process (V5).

Each test declares what a script or a notebook would, under `__main__`: that travels by
value. What the receiver has sent comes back as itself.
"""

import abc
import concurrent.futures
import dataclasses
import gc
import inspect
import sys
import textwrap
import weakref

import pytest
from house import NEVER
from polling import SECONDS, eventually

import ipycron
from ipycron.process.wire.outcome import Unserializable

pytestmark = pytest.mark.usefixtures("supervisor")


@pytest.fixture
def declare():
    """Execute code as `__main__` does; return its names."""

    def execute(source):
        names = {"__name__": "__main__"}
        exec(textwrap.dedent(source), names)
        return names

    return execute


def start(job, **options):
    """Return a started task whose job runs in a worker."""
    task = ipycron.create_task(NEVER, job, background=True, **options)
    task.start().result(SECONDS)
    return task


def run(task):
    """Return the result of one run."""
    return task.execute().result(SECONDS)


def are_gone(refs):
    """Return whether the objects of weak references are released.

    The client's threads may be about to leave what they did with them.
    """
    gc.collect()
    return all(ref() is None for ref in refs)


CLASS = """
G = 1
class K:
    n = 0
    def f(self): return G
def job(): return K()
"""


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
def test_result_leaves_its_class_as_the_receiver_has_changed_it(declare, launcher):
    """Attributes, methods and globals stay the receiver's, as do its objects."""
    names = declare(CLASS)
    cls, mine = names["K"], names["K"]()
    task = start(names["job"], launcher=launcher)
    run(task)
    cls.n, cls.f, names["G"] = 7, lambda _: "patched", 2
    results = [run(task), run(task)]
    assert [type(result) for result in results] == [cls, cls]
    assert (cls.n, mine.f(), results[0].f(), names["G"]) == (7, "patched", "patched", 2)


FAILURE = """
class Base(Exception):
    code = 1
class Failure(Base): pass
def job():
    error = Failure("no", 3)
    error.add_note("a note")
    error.extra = Base
    try:
        raise Base("first")
    except Base as first:
        raise error from first
"""


def test_error_leaves_its_class_as_the_receiver_has_changed_it(declare):
    """Even an error that nobody reads: it is decoded for the log."""
    names = declare(FAILURE)
    task = start(names["job"])
    names["Base"].code = names["Failure"].code = 2
    task.execute().exception(SECONDS)
    error = task.execute().exception(SECONDS)
    assert (type(error), type(error.__cause__)) == (names["Failure"], names["Base"])
    assert (error.args, error.__notes__) == (("no", 3), ["a note"])
    assert error.extra is names["Base"]
    assert (names["Base"].code, names["Failure"].code) == (2, 2)


REFERENCES = """
import types
G = [1]
module = types.ModuleType("never_imported")
exec("x = 1\\ndef double(y): return x * y", module.__dict__)
class K:
    def f(self): return G
    @staticmethod
    def s(): return G
def helper(): return G
def make():
    count = 0
    def inner():
        nonlocal count
        count += 1
        return count
    return inner
inner = make()
def job():
    module.x = 2
    return [K, helper, inner, module, K().f, K.s, job, K.f]
"""


def test_what_was_sent_comes_back_by_reference(declare):
    """Classes, functions, methods and modules, even after the job's changes."""
    names = declare(REFERENCES)
    names["inner"]()
    cls, helper, inner, module, bound, static, job, plain = run(start(names["job"]))
    assert (cls, helper, inner) == (names["K"], names["helper"], names["inner"])
    assert (static, job, plain) == (names["K"].s, names["job"], names["K"].f)
    assert bound.__func__ is names["K"].f
    assert type(bound.__self__) is names["K"]
    assert module is names["module"]
    assert (module.x, helper() is names["G"], inner()) == (1, True, 2)


LOCKED = """
import threading
class K: pass
def job():
    K.lock = job.lock = threading.Lock()
    return K(), job
"""


def test_class_comes_back_whatever_the_job_has_put_into_it(declare):
    """A reference contains nothing, so nothing in it can fail to be pickled."""
    names = declare(LOCKED)
    value, job = run(start(names["job"]))
    assert type(value) is names["K"]
    assert job is names["job"]
    assert not hasattr(names["K"], "lock")


SENTINELS = """
import dataclasses, enum
from inspect import Parameter
MISSING = object()
class Undefined: pass
UNDEFINED = Undefined()
class Slotted: __slots__ = ()
SLOTTED = Slotted()
class Color(enum.Enum):
    RED = object()
    BLUE = [2]
class Flag(enum.Flag):
    A = 1
    B = 2
@dataclasses.dataclass
class A:
    x: int
    y: list = dataclasses.field(default_factory=list, kw_only=True)
def job(given=MISSING):
    here = [
        given is MISSING,
        dataclasses.fields(A)[0].default is dataclasses.MISSING,
        dataclasses.fields(A)[1].default_factory is list,
        Color.RED is Color["RED"],
    ]
    there = [MISSING, UNDEFINED, SLOTTED, Color.RED, Color.BLUE]
    there += [Flag.A, Flag.A | Flag.B]
    libraries = [dataclasses.MISSING, dataclasses.KW_ONLY, Parameter.empty]
    return here, there, libraries, A(5), [Undefined(), object()]
"""


def test_sentinels_are_the_same_object_on_both_sides(declare):
    """Objects compared by `is`: users', the standard library's, enums'."""
    names = declare(SENTINELS)
    here, there, libraries, value, fresh = run(start(names["job"]))
    assert here == [True] * 4
    color, flag = names["Color"], names["Flag"]
    mine = [names[name] for name in ("MISSING", "UNDEFINED", "SLOTTED")]
    mine += [color.RED, color.BLUE, flag.A, flag.A | flag.B]
    assert list(map(id, there)) == list(map(id, mine))
    ours = [dataclasses.MISSING, dataclasses.KW_ONLY, inspect.Parameter.empty]
    assert list(map(id, libraries)) == list(map(id, ours))
    assert fresh[0] is not names["UNDEFINED"]
    assert fresh[1] is not names["MISSING"]

    @dataclasses.dataclass
    class B(type(value)):
        z: int = 9

    assert dataclasses.asdict(B(1)) == {"x": 1, "z": 9, "y": []}
    with pytest.raises(TypeError, match="'x'"):
        B()


LIBRARIES = """
import attrs, traitlets
@attrs.define
class Point:
    x: int
    y: list = attrs.field(factory=list)
class Traits(traitlets.HasTraits):
    size = traitlets.Int(3)
def job():
    there = attrs.fields(Point).x.default is attrs.NOTHING, Traits().size
    return there, Point(1), [attrs.NOTHING, traitlets.Undefined]
"""


def test_sentinels_of_libraries_are_the_same_object_on_both_sides(declare):
    """Those of attrs, and one with a state that claims to be the only copy."""
    attrs, traitlets = pytest.importorskip("attrs"), pytest.importorskip("traitlets")
    names = declare(LIBRARIES)
    there, point, sentinels = run(start(names["job"]))
    assert there == (True, 3)
    assert point == names["Point"](1)
    assert sentinels[0] is attrs.NOTHING
    assert sentinels[1] is traitlets.Undefined


CLASSES = """
import abc, collections, dataclasses, enum, functools, typing
T = typing.TypeVar("T")
class Tuple(typing.NamedTuple):
    a: int = 1
class Generic(typing.Generic[T]): pass
Named = collections.namedtuple("Named", "a b")
@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: int = 1
@functools.total_ordering
class Ordered:
    def __eq__(self, other): return isinstance(other, Ordered)
    def __lt__(self, other): return False
class Slots:
    __slots__ = ("a", "__private", "__weakref__")
    def __init__(self): self.a = self.__private = 1
class Meta(type):
    def __call__(cls, *args): return super().__call__(*args)
class Made(metaclass=Meta): pass
class Single:
    one = None
    def __new__(cls):
        cls.one = cls.one or super().__new__(cls)
        return cls.one
ONE = Single()
class Outer:
    class Inner: pass
class Descriptor:
    def __set_name__(self, owner, name): self.name = name
    def __get__(self, obj, cls=None): return self if obj is None else self.name
class Holder:
    d = Descriptor()
    @functools.cached_property
    def value(self): return 1
    @property
    def p(self): return 2
    @classmethod
    def c(cls): return cls
class Number(enum.IntEnum):
    A = 1
    ALIAS = 1
@functools.lru_cache
def cached(n): return n
@functools.singledispatch
def dispatch(x): return "object"
@dispatch.register
def _(x: int): return "int"
def decorate(function):
    @functools.wraps(function)
    def wrapper(*args): return function(*args)
    return wrapper
@decorate
def decorated(): return 1
def job():
    objects = [
        Tuple(), Generic(), Named(1, 2), Frozen(), Ordered(), Slots(), Made(), Single(),
        Outer.Inner(), Holder(), Number.ALIAS,
    ]
    there = hasattr(objects[5], "__dict__"), Holder().d, dispatch(1), cached(3)
    return there, objects, [T, ONE, cached, dispatch, decorated, Named, Generic]
"""


def test_classes_of_any_kind_are_untouched(declare):
    """All their attributes are the same as before; slots are slots."""
    names = declare(CLASSES)
    task = start(names["job"])
    ours = [c for c in names.values() if getattr(c, "__module__", "") == "__main__"]
    before = [dict(vars(cls)) for cls in ours if isinstance(cls, type)]
    for _ in range(2):
        there, objects, same = run(task)
    assert before == [dict(vars(cls)) for cls in ours if isinstance(cls, type)]
    assert there == (False, "d", "int", 3)
    mine = "T ONE cached dispatch decorated Named Generic"
    assert list(map(id, same)) == [id(names[name]) for name in mine.split()]
    classes = [
        "Tuple",
        "Generic",
        "Named",
        "Frozen",
        "Ordered",
        "Slots",
        "Made",
        "Single",
    ]
    kinds = [names[name] for name in classes]
    kinds += [names["Outer"].Inner, names["Holder"], names["Number"]]
    assert [type(obj) for obj in objects] == kinds
    assert objects[-1] is names["Number"].A


REGISTRIES = """
import abc
registry, made = [], []
class Plugin:
    def __init_subclass__(cls, *, name, **options):
        registry.append(name)
class One(Plugin, name="one"): pass
class Meta(type):
    def __init__(cls, *args):
        super().__init__(*args)
        made.append(cls.__name__)
class Two(metaclass=Meta): pass
class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...
@Shape.register
class Square: pass
def job():
    class Three(Plugin, name="three"): pass
    there = [*registry], [*made], isinstance(Square(), Shape), One.__mro__[1] is Plugin
    return there, One(), Two(), Square(), Three()
"""


def test_hooks_and_registries_are_untouched(declare):
    """No class is declared again on either side; `isinstance` is unchanged."""
    names = declare(REGISTRIES)
    task = start(names["job"])
    for _ in range(2):
        there, one, two, square, three = run(task)
    assert there == (["one", "three", "three"], ["Two"], True, True)
    assert (names["registry"], names["made"]) == (["one"], ["Two"])
    assert (type(one), type(two)) == (names["One"], names["Two"])
    assert isinstance(square, names["Shape"])
    assert isinstance(three, names["Plugin"])
    assert names["Plugin"].__subclasses__()[0] is names["One"]
    with pytest.raises(TypeError, match="abstract"):
        names["Shape"]()


def test_class_of_a_task_file_is_made_once(write):
    """New to the receiver, it is the receiver's own from then on."""
    path = write("""
        class Point:
            n = 0
            def __init__(self): self.x = 3
        def task(): return Point()
    """)
    task = start(path)
    first = run(task)
    type(first).n = 5
    second = run(task)
    assert type(second) is type(first)
    assert (second.n, second.x) == (5, 3)


def test_two_tasks_share_a_class_of_the_receiver(declare):
    """Whichever of them returns it."""
    names = declare(CLASS + "def other(): return [K(), K]")
    first, second = start(names["job"]), start(names["other"])
    names["K"].n = 3
    value, (other, cls) = run(first), run(second)
    assert {type(value), type(other), cls} == {names["K"]}
    assert names["K"].n == 3


def test_class_that_is_redefined_is_left_alone_by_a_task_of_the_old_one(declare):
    """The old class is returned while it exists; else it is created, once."""
    names = declare(CLASS)
    task = start(names["job"])
    new = declare("class K:\n    n = 'new'")["K"]
    other = start(names["job"])
    assert type(run(other)) is names["K"]
    other.destroy().result(SECONDS)
    old = weakref.ref(names["K"])
    del names, other
    # No registry keeps it, though the task is still there.
    eventually(lambda: are_gone([old]), "the old class is released")
    first, second = run(task), run(task)
    assert type(first) is type(second)
    assert (first.n, first.f(), new.n) == (0, 1, "new")


def test_function_that_is_gone_is_recreated(declare):
    """A lambda that only the task refers to."""
    names = declare("def make():\n    f = lambda: (f, 41)\n    return f")
    function = names["make"]()
    ref = weakref.ref(function)
    task = start(function)
    del function
    eventually(lambda: are_gone([ref]), "only the task refers to it")
    function, number = run(task)
    assert (number, function()[1]) == (41, 41)


def test_class_that_is_gone_and_cannot_travel_is_described(declare):
    """The reason names the class."""
    names = declare(LOCKED)
    task = start(names["job"])
    ref = weakref.ref(names["K"])
    del names
    eventually(lambda: are_gone([ref]), "the class is released")
    value = run(task)
    assert isinstance(value, Unserializable)
    assert "class K is gone" in value.reason


def test_nothing_of_a_destroyed_task_stays(declare):
    """Neither what was sent nor what was returned."""
    names = declare(SENTINELS)
    task = start(names["job"])
    refs = [weakref.ref(names[name]) for name in ("A", "Color", "UNDEFINED", "job")]
    refs.append(weakref.ref(run(task)[3]))
    task.destroy().result(SECONDS)
    del names, task
    eventually(lambda: are_gone(refs), lambda: [ref() for ref in refs])


def test_threads_run_leaves_the_class_as_it_is(declare):
    """In a thread pool, the class is the very same and is not loaded."""
    names = declare(CLASS + "def job():\n    K.n += 1\n    return K(), K.n, job")
    cls = names["K"]
    method = cls.f
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        task = ipycron.create_task(NEVER, names["job"], executor=executor)
        task.start().result(SECONDS)
        results = [run(task), run(task)]
        task.destroy().result(SECONDS)
    assert [(type(value), n, job) for value, n, job in results] == [
        (cls, 1, names["job"]),
        (cls, 2, names["job"]),
    ]
    assert cls.f is method


def test_subclass_that_a_job_declares_is_one_of_the_receivers(declare):
    """Of a class of the receiver's, and of one of the standard library's."""
    names = declare(
        CLASS
        + textwrap.dedent("""
            import abc
            def job():
                class Sub(K, abc.ABC):
                    n = 4
                    def f(self): return super().f() + 1
                return Sub()
        """)
    )
    task = start(names["job"])
    value = run(task)
    assert isinstance(value, names["K"])
    assert isinstance(type(value), abc.ABCMeta)
    assert (value.f(), names["K"].n) == (2, 0)


def test_main_of_the_receiver_is_untouched(declare):
    """A job that returns `__main__`, or names in it, replaces nothing there."""
    names = declare("import sys\ndef job():\n    return sys.modules['__main__']")
    before = dict(vars(sys.modules["__main__"]))
    assert run(start(names["job"])) is sys.modules["__main__"]
    assert vars(sys.modules["__main__"]) == before
