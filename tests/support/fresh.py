"""Programs in interpreters of their own, where nothing is loaded yet."""

import json
import subprocess
import sys


def run_fresh(code: str) -> object:
    """Return what `code` prints as JSON in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return json.loads(done.stdout)
