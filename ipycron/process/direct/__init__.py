"""Calls that go straight from the client to a worker, past the supervisor.

One port: the client calls `connections.DirectConnections.try_call`, the supervisor
owns a `DirectLease` for each worker, the worker has its end. With
``IPYCRON_DIRECT=0`` in the environment there are none, and everything else works the
same.
"""
