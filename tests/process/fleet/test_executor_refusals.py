"""A pool's limitations are known and reported when the task is declared."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
from house import NEVER

import ipycron
from ipycron.client.jobs import Cell
from ipycron.errors import InvalidOption
from ipycron.process.wire.payload import Payload


def test_cell_on_a_pool_that_forks_is_refused():
    """Its processes copy the notebook's shell: each fire would fail."""
    cell = Cell(source="1", filename="cell", payload=Payload())
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, mp_context=fork) as pool:
        with pytest.raises(InvalidOption, match="whose processes start afresh"):
            ipycron.create_task(NEVER, cell, executor=pool)
        with pytest.raises(
            InvalidOption, match=r"args: got .* expected none for a cell"
        ):
            ipycron.create_task(NEVER, cell, args=["x"])
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        ipycron.create_task(NEVER, cell, executor=pool)
        ipycron.shutdown()
