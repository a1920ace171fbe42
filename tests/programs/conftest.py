"""Fixtures of the tests that run ipycron inside other programs."""

from pathlib import Path

import pytest
from programs import Program, write_files


def pytest_collection_modifyitems(items):
    """Give the tests of this folder a shorter time limit than the suite's."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(40))


@pytest.fixture
def start(tmp_path):
    """Write modules, and start a program next to them."""
    programs = []

    def start_program(*command, environment=None, **sources):
        write_files(tmp_path, **sources)
        programs.append(Program(tmp_path, *map(str, command), **(environment or {})))
        return programs[-1]

    yield start_program
    for program in programs:
        program.close()
