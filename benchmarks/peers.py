"""node-cron beside us: installed outside the tracked tree, asked piece by piece."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

NODE_CRON = "node-cron"
VERSION = "4.6.0"
_HERE = Path(__file__).parent
_FOLDER = _HERE.parent / "build" / "bench"
_MODULE = _FOLDER / "node_modules" / "node-cron" / "dist" / "node-cron.js"
_TIMEOUT = 300


@functools.cache
def find_node_cron() -> Path | None:
    """Return node-cron's module, installed if need be; None where it cannot be."""
    if shutil.which("node") is None:
        return None
    if not _MODULE.exists() and shutil.which("npm") is not None:
        _FOLDER.mkdir(parents=True, exist_ok=True)
        what = ["--no-audit", "--no-fund", "--silent", f"node-cron@{VERSION}"]
        subprocess.run(["npm", "install", "--prefix", _FOLDER, *what], check=False)
    return _MODULE if _MODULE.exists() else None


def ask_node_cron(work: str, *arguments: Any) -> dict[str, Any] | None:
    """Return what `node_cron.mjs` measured; None where it is not installed."""
    module = find_node_cron()
    if module is None:
        return None
    command = ["node", _HERE / "node_cron.mjs", module, work, json.dumps(arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=_TIMEOUT, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def read_node_version() -> str:
    """Return Node's version, or that there is none."""
    if shutil.which("node") is None:
        return "not installed"
    return subprocess.check_output(["node", "--version"], text=True).strip()


if __name__ == "__main__":
    sys.exit(find_node_cron() is None)
