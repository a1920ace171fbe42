"""Fails at every third run, as services do."""

runs = 0


def task():
    """Return the number of the run."""
    global runs
    runs += 1
    if runs % 3 == 0:
        raise ConnectionError(f"run {runs}: the service did not answer")
    return runs
