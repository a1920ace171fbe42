"""Programs in their own interpreters, where nothing is loaded yet."""

import json
import subprocess
import sys


def run_fresh(code: str, seconds: float = 60) -> object:
    """Return the last output line of `code`, as JSON, from its own interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
