"""The front ends in which a browser test runs: both by default."""

import pytest

LAB_FIRST = pytest.mark.parametrize(
    "shared",
    ["lab", pytest.param("notebook", marks=pytest.mark.full)],
    indirect=True,
)
"""In JupyterLab; in Notebook as well by `make test-full`."""
