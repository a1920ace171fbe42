"""Direct calls from the client to a worker, bypassing the supervisor.

The client enters by `connections.DirectConnections.try_call`. The supervisor owns a
`DirectLease` for each worker, and the worker serves a `WorkerEnd`. With
``IPYCRON_DIRECT=0`` in the environment there are no direct connections, and everything
else works the same.
"""
