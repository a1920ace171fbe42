"""The supervisor: the process that owns the schedule of every background task.

It runs no user code and imports no user module. It does not import `worker/`, except
that its program forks the first zygote.
"""
