"""What is sent by value is one object per process, however often it arrives."""

import gc
import io
import pickle
import threading
import weakref

import cloudpickle
import pytest

from ipycron.process.wire import identity
from ipycron.process.wire.payload import pack_object, unpack


def declare(source):
    """Execute code as `__main__` does; return its names."""
    names = {"__name__": "__main__"}
    exec(source, names)
    return names


def receive(value):
    """Return the payload of a value as from another process: unknown here."""
    payload = pack_object(value)
    for table in (identity.registry._by_address, identity.registry._by_token):
        table.clear()
    cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.clear()
    return payload


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """A registry for the test."""
    monkeypatch.setattr(identity, "registry", identity.Registry())
    return identity.registry


def test_cloudpickle_describes_a_class_as_we_read_it():
    """The token is the last argument but one, and its table knows the class."""
    cls = declare("class K: pass")["K"]
    _, args, *_, complete = cloudpickle.Pickler(io.BytesIO()).reducer_override(cls)
    assert identity._find_tracked(args[-2]) is cls
    assert complete.__name__ == "_class_setstate"


def test_class_that_cloudpickle_has_loaded_is_that_class():
    """As on a cluster whose own data included it."""
    cls = declare("class K: n = 1")["K"]
    payload = receive(cls)
    tracker = cloudpickle.cloudpickle
    theirs = type("K", (), {"n": 2})
    tracker._lookup_class_or_track(tracker._get_or_create_tracker_id(cls), theirs)
    assert unpack(payload) is theirs
    assert theirs.n == 2


def test_objects_are_told_apart_by_identity_alone():
    """Equality and hashes of their classes are ignored."""
    names = declare(
        "class Same:\n    def __eq__(self, other): return True\nA = Same()\nB = Same()"
    )
    payload = pack_object([names["A"], names["B"], names["A"]])
    first, second, third = unpack(payload)
    assert (first is names["A"], second is names["B"]) == (True, True)
    assert third is first


def test_registry_keeps_nothing_alive(registry):
    """It keeps no object alive, but a bounded number without weak references."""
    names = declare("class K: pass\ndef f(): pass")
    pack_object([names["K"], names["f"], object()])
    refs = [weakref.ref(names["K"]), weakref.ref(names["f"])]
    del names
    gc.collect()
    assert [ref() for ref in refs] == [None, None]
    for _ in range(identity.MAX_SENTINELS + 5):
        identity.get_token(object())
    assert len(registry._by_token) <= identity.MAX_SENTINELS
    assert len(registry._by_address) <= identity.MAX_SENTINELS


def test_class_that_two_threads_receive_at_once_is_one_class():
    """Two results may both be the first to contain a class."""
    value = declare("class K: pass\nfor i in range(99): setattr(K, f'a{i}', i)")["K"]()
    payload = receive(value)
    gate, made = threading.Barrier(8), []

    def load():
        gate.wait(20)
        made.append(unpack(payload))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({type(value) for value in made}) == 1
    assert all(value.a98 == 98 for value in made)


BROKEN = """
class K:
    def __init__(self): self.x = 1
    def __setstate__(self, state): raise ValueError("not today")
class Holder:
    k = K()
"""


def test_class_whose_load_fails_is_not_left_half_made():
    """The next load creates it from scratch."""
    names = declare(BROKEN)
    payload = receive([names["Holder"], names["K"]])
    for _ in range(2):
        with pytest.raises(ValueError, match="not today"):
            unpack(payload)
    assert not [
        entry
        for entry in identity.registry._by_token.values()
        if entry.ref().__name__ == "Holder"
    ]


def test_load_does_not_wait_for_ever_for_another_one(monkeypatch):
    """A load that hangs in user code blocks no other load."""
    monkeypatch.setattr(identity, "LOAD_TIMEOUT", 0.01)
    hangs, release = threading.Event(), threading.Event()

    def hang():
        with identity.loading():
            hangs.set()
            release.wait(20)

    thread = threading.Thread(target=hang)
    thread.start()
    hangs.wait(20)
    try:
        value = unpack(receive(declare("class K: n = 3")["K"]()))
        assert value.n == 3
    finally:
        release.set()
        thread.join()


def test_plain_values_need_no_loading():
    """Values without user-defined types are plain pickles."""
    payload = pack_object([1, {"a": 2.5}, ValueError("x")])
    assert str(pickle.loads(bytes(payload.data)[13:])[2]) == "x"
