"""WHETHER a slot runs: one scheduler for inline and background tasks.

Usable with nothing started: the clock, the launcher and the elector are protocols
(`ports.py`), and `ipycron.testing` has fakes of them. It knows no process and no
socket.
"""
