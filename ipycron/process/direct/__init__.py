"""Calls that go straight from the client to a worker."""
