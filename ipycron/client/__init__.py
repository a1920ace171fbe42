"""The truth behind the handles, in the user's process.

One `TaskRecord` for each task, the engine with its thread and loop, the connection to
the supervisor. Used by `api/`. Nothing here knows a notebook, and nothing here runs a
background task's code.
"""
