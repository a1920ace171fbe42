"""Whether there may be a service is one look at the disk."""

import platformdirs
import pytest

from ipycron.process.service.paths import VARIABLE, find_places
from ipycron.process.service.presence import may_have_service


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Give each test a home of its own."""
    for name in (VARIABLE, "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_user_who_never_kept_a_task_has_no_service():
    """Nothing else is looked at then."""
    assert not may_have_service()


@pytest.mark.parametrize("variable", [None, "XDG_STATE_HOME", VARIABLE])
def test_folder_of_the_service_is_found_wherever_it_is(home, monkeypatch, variable):
    """The look knows the same places as the service."""
    if variable is not None:
        monkeypatch.setenv(variable, str(home / "elsewhere"))
    folder = find_places().folder
    assert not may_have_service()
    folder.mkdir(parents=True)
    assert may_have_service()


def test_look_agrees_with_platformdirs(home):
    """It does not load it."""
    (platformdirs.user_state_path("ipycron") / "service").mkdir(parents=True)
    assert may_have_service()
