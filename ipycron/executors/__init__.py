"""Runs jobs elsewhere: in a pool, on a Dask cluster, on anything that returns futures.

Imported by the first task that uses an executor. `guest.py` also runs on the remote
side, where only the parts of `process/` that it needs may be imported.
"""
