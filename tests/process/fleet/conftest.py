"""Fleets: coordinators that record their calls, executors, a Dask cluster."""

import multiprocessing.resource_tracker

import loky.backend.resource_tracker
import pytest
from house import FORKED, INLINE, NEVER, House
from polling import SECONDS

import ipycron
from ipycron.client.registry import registry


@pytest.fixture(scope="session", autouse=True)
def kept_by_pools():
    """Create what pools keep for good, their resource trackers: no test leaks."""
    multiprocessing.resource_tracker.ensure_running()
    loky.backend.resource_tracker.ensure_running()


@pytest.fixture(params=[INLINE, FORKED])
def house(request, tmp_path):
    """Tasks of the client's scheduler and of the supervisor's."""
    with House(request.param, tmp_path) as house:
        yield house


@pytest.fixture
def inline(tmp_path):
    """Tasks of the client's scheduler, where both behave alike."""
    with House(INLINE, tmp_path) as house:
        yield house


@pytest.fixture(scope="session")
def dask_threads(tmp_path_factory):
    """Dask's threads in this process are not a test's leak, either."""
    from dask_cluster import warm_dask  # noqa: PLC0415 - tests without Dask save 1 s

    warm_dask(tmp_path_factory.mktemp("warm"))


@pytest.fixture
def start(tmp_path):
    """Start a task with an executor; return it."""

    def start_task(job, executor, expression=NEVER, **options):
        options.setdefault("name", "report")
        task = ipycron.create_task(expression, job, executor=executor, **options)
        task.start().result(SECONDS)
        return task

    yield start_task
    (tmp_path / "go").touch()
    registry.close(0)
