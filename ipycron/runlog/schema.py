"""The tables of the history, and the scripts that bring an older file up to date.

Every query over runs says ``run IS NULL`` (runs) or ``run = ?`` (attempts of one): the
indexes are for these two, and SQLite only uses them where the query says so.
"""

from __future__ import annotations

APPLICATION_ID = 0x69706372
"""Marks a file as ours ("ipcr"), in the header that SQLite has for this."""

MIGRATIONS = (
    """
    -- A process that writes. `ended` after a clean end, `vanished` where somebody else
    -- found it gone.
    CREATE TABLE writers (
        id TEXT PRIMARY KEY,
        host TEXT NOT NULL,
        boot TEXT NOT NULL,
        pid INTEGER NOT NULL,
        started TEXT NOT NULL,
        since REAL NOT NULL,
        ended REAL,
        vanished REAL
    ) WITHOUT ROWID;

    -- A life of a task. `ending` is "stopped", "destroyed" or "shutdown", or None for
    -- one that is alive or whose process vanished. `last_slot`: the newest
    -- slot that has a row.
    CREATE TABLE tasks (
        key TEXT PRIMARY KEY,
        task_id TEXT NOT NULL,
        name TEXT NOT NULL,
        origin TEXT,
        kind TEXT NOT NULL,
        pattern TEXT NOT NULL,
        zone TEXT NOT NULL,
        schedule TEXT NOT NULL,
        code_hash TEXT,
        declared_at REAL NOT NULL,
        writer TEXT NOT NULL,
        ended_at REAL,
        ending TEXT,
        last_slot REAL
    );
    CREATE INDEX tasks_by_name ON tasks (name, declared_at);
    CREATE INDEX tasks_by_writer ON tasks (writer);

    -- A slot, a call, or (`run` is not None) an attempt of one.
    CREATE TABLE runs (
        id TEXT PRIMARY KEY,
        task TEXT NOT NULL,
        slot REAL,
        trigger TEXT NOT NULL,
        at REAL NOT NULL,
        outcome TEXT NOT NULL,
        run TEXT,
        attempt INTEGER NOT NULL,
        attempts INTEGER,
        started_at REAL,
        finished_at REAL,
        missed_count INTEGER,
        error_type TEXT,
        error TEXT,
        traceback TEXT,
        exit_code INTEGER,
        signal TEXT,
        pid INTEGER,
        cpu_seconds REAL,
        peak_memory INTEGER,
        summary TEXT,
        output TEXT,
        output_left_out INTEGER,
        writer TEXT NOT NULL,
        name TEXT NOT NULL
    );
    CREATE INDEX runs_by_name ON runs (name, at, outcome) WHERE run IS NULL;
    CREATE INDEX runs_by_time ON runs (at) WHERE run IS NULL;
    CREATE INDEX runs_attempts ON runs (run, attempt) WHERE run IS NOT NULL;
    CREATE INDEX runs_open ON runs (writer) WHERE outcome IN ('queued', 'running');
    """,
    """
    -- What decides the slots of a life, and its policies, as a JSON object. NULL where
    -- an older version of ipycron has written it.
    ALTER TABLE tasks ADD COLUMN facts TEXT
    """,
)
"""Forward only: a file of version n has had the first n. Never change one that was
released: add another. Statements end with the only semicolons."""

VERSION = len(MIGRATIONS)
"""The schema that this version of ipycron writes, in ``PRAGMA user_version``."""
