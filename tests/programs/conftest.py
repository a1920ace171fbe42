"""Fixtures of the tests that run ipycron inside other programs."""

import pytest
from programs import Program, write_files


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
