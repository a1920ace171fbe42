"""What is accepted as a run coordinator, and what importing coordinators costs."""

import os
import platform
import subprocess
import sys

import pytest

from ipycron.coordinate import EnvRunCoordinator
from ipycron.coordinate.protocol import check_coordinator, describe_owner, make_owner
from ipycron.errors import InvalidOption


class Plain:
    """The smallest coordinator."""

    def should_run(self, _key, _lease):
        """Run everything."""
        return True

    def on_complete(self, _key):
        """Do nothing."""


class WithoutEnd:
    """Lacks `on_complete`."""

    def should_run(self, _key, _lease):
        """Run everything."""
        return True


def test_check_coordinator_returns_any_object_with_both_methods():
    """No base class is needed."""
    coordinator = Plain()
    assert check_coordinator(coordinator) is coordinator


@pytest.mark.parametrize("value", [None, True, "redis://host", WithoutEnd()])
def test_check_coordinator_raises_when_a_method_is_missing(value):
    """The message names the methods."""
    with pytest.raises(InvalidOption) as caught:
        check_coordinator(value)
    assert str(caught.value) == (
        f"run_coordinator: got {value!r:.200}, expected an object with the methods "
        "should_run(key, lease) and on_complete(key)."
    )


def test_check_coordinator_raises_when_given_the_class():
    """A class has the methods, but they cannot be called."""
    with pytest.raises(InvalidOption, match="Make an object of this class first"):
        check_coordinator(EnvRunCoordinator)


def test_importing_the_coordinators_loads_neither_redis_nor_asyncio():
    """Redis is an extra, and asyncio costs more than everything else."""
    code = (
        "import sys, ipycron.coordinate as c\n"
        "from ipycron.coordinate import *\n"
        "heavy = {'redis', 'asyncio', 'IPython'} & set(sys.modules)\n"
        "print(sorted(heavy), len(c.__all__))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[] 7\n"


def test_script_without_a_fleet_loads_no_coordinator():
    """SQLite and Redis would add 20 ms to its first task."""
    code = (
        "import sys, ipycron\n"
        "ipycron.create_task('0 0 1 1 *', print).start().result(10)\n"
        "names = ('sqlite3', 'ipycron.coordinate.redis', 'ipycron.coordinate.sqlite')\n"
        "print([name for name in names if name in sys.modules])\n"
        "ipycron.shutdown()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "IPYCRON_HISTORY": "off"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_owner_is_text_whatever_the_name_of_the_machine(monkeypatch):
    """Linux takes any bytes; no store does."""
    monkeypatch.setattr(platform, "node", lambda: "b\udcff: \n🕰")
    owner = make_owner("0f0e")
    assert owner.encode().decode() == owner
    assert describe_owner(owner) == f"process {os.getpid()} on b\\udcff: \n🕰"
