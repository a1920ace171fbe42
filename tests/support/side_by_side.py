"""Programs that the tests of a file wait for, run at the same time.

Each test looks at what has become of its own program. Before the first test, for all:
the time of the longest one instead of the sum.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from leaks import Belongings, end_processes, find_leaks


def run_side_by_side(request, name, run):
    """Call a function for each parameter of a fixture; return the futures by those.

    In a fixture of the module, which takes as long as the longest call: all of them
    are over then. What they leave behind is an error, as around a test.

    Args:
        request: of the fixture of the module.
        name: of the other fixture, which tests are parametrized with.
        run: called with the parameters of the tests that were asked for, in a thread
            each.
    """
    tests = [item for item in request.session.items if item.path == request.path]
    wanted = [test.callspec.params[name] for test in tests if name in test.fixturenames]
    before = Belongings(has_orphans=True)
    with ThreadPoolExecutor(len(wanted)) as pool:
        futures = {one: pool.submit(run, one) for one in dict.fromkeys(wanted)}
    leaks = find_leaks(before, has_orphans=True)
    if leaks:
        end_processes(before)
        pytest.fail("left behind: " + "; ".join(leaks), pytrace=False)
    return futures
