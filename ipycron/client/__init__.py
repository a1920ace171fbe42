"""The truth behind the handles, in the user's process.

One `TaskRecord` for each task, the engine with its thread and loop, and the
connection to the supervisor. Used by `api/`. Nothing here depends on notebooks, and
nothing here runs the code of background tasks.
"""
