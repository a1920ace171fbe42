"""Samples this machine's load into an SQLite database, one row a run.

The database is the file that SYSTEM_LOAD_DB names, by default system_load.sqlite in
the working directory. What the module holds (the connection, psutil's counters) is
there again at the next run: the worker stays.
"""

import os
import sqlite3

import psutil

connection = sqlite3.connect(os.environ.get("SYSTEM_LOAD_DB", "system_load.sqlite"))
connection.execute(
    "CREATE TABLE IF NOT EXISTS load"
    " (at TEXT PRIMARY KEY, cpu REAL, memory REAL, disk REAL)"
)
psutil.cpu_percent()  # the first answer has nothing to compare with


def task(ctx):
    """Store one sample and return it, in percent."""
    sample = {
        "cpu": psutil.cpu_percent(),
        "memory": psutil.virtual_memory().percent,
        "disk": psutil.disk_usage("/").percent,
    }
    with connection:
        connection.execute(
            "INSERT OR REPLACE INTO load VALUES (:at, :cpu, :memory, :disk)",
            {"at": ctx.date_local_iso, **sample},
        )
    print(f"{ctx.date_local_iso}: cpu {sample['cpu']} %")
    return sample
