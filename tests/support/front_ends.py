"""In which front ends a test of the browser runs: by default in both."""

import pytest

LAB_FIRST = pytest.mark.parametrize(
    "shared",
    ["lab", pytest.param("notebook", marks=pytest.mark.full)],
    indirect=True,
)
"""In JupyterLab; in Notebook as well by `make test-full`."""
