"""Runs elsewhere: a pool, a Dask cluster, anything that returns futures.

Imported by the first task that uses an executor. `guest.py` also runs on the other
side, where only what it needs of `process/` may be imported.
"""
