"""The environment variable that elects one instance (D1)."""

import pytest

from ipycron.coordinate import EnvRunCoordinator
from ipycron.errors import CoordinatorError

ADVICE = (
    "Set it to 'true' on the one instance that runs distributed tasks and to 'false' "
    "on the others, or pass a run_coordinator."
)


def test_env_coordinator_reads_the_variable_at_each_fire(monkeypatch):
    """A process can be promoted and demoted while it runs."""
    monkeypatch.setenv("IPYCRON_RUN", "true")
    coordinator = EnvRunCoordinator()
    assert coordinator.should_run("report:x", 30) is True
    monkeypatch.setenv("IPYCRON_RUN", "false")
    assert coordinator.should_run("report:x", 30) is False
    coordinator.on_complete("report:x")


@pytest.mark.parametrize("value", ["True", "TRUE", "1", "0", "", " true", "yes", "no"])
def test_env_coordinator_is_refused_when_the_variable_says_anything_else(
    monkeypatch, value
):
    """A typo must never run everything everywhere, or nothing anywhere."""
    monkeypatch.setenv("IPYCRON_RUN", value)
    with pytest.raises(CoordinatorError) as caught:
        EnvRunCoordinator()
    assert str(caught.value) == (
        f"run coordinator: IPYCRON_RUN: got {value!r}, expected 'true' or 'false'. "
        + ADVICE
    )


def test_env_coordinator_is_refused_when_the_variable_is_unset(monkeypatch):
    """The message says what to set."""
    monkeypatch.delenv("IPYCRON_RUN", raising=False)
    with pytest.raises(CoordinatorError) as caught:
        EnvRunCoordinator()
    assert str(caught.value) == (
        "run coordinator: IPYCRON_RUN: got nothing, expected 'true' or 'false'. "
        + ADVICE
    )


def test_env_coordinator_raises_at_the_fire_when_the_variable_became_bad(monkeypatch):
    """The scheduler then reports a coordinator-error and does not run."""
    monkeypatch.setenv("IPYCRON_RUN", "true")
    coordinator = EnvRunCoordinator()
    monkeypatch.setenv("IPYCRON_RUN", "maybe")
    with pytest.raises(CoordinatorError, match="got 'maybe'"):
        coordinator.should_run("report:x", 30)


def test_env_coordinator_reads_another_variable_when_told(monkeypatch):
    """Two fleets on one machine can use different variables."""
    monkeypatch.delenv("IPYCRON_RUN", raising=False)
    monkeypatch.setenv("NIGHT_RUN", "true")
    coordinator = EnvRunCoordinator("NIGHT_RUN")
    assert coordinator.should_run("report:x", 30) is True
    assert repr(coordinator) == "<EnvRunCoordinator NIGHT_RUN>"
