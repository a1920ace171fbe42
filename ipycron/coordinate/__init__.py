"""Which machine runs a fire: run coordinators for a fleet.

Instances that run the same tasks ask a coordinator before each scheduled run; it
elects one. `ipycron.coordinate.election` is the asking side.
"""

from ipycron.coordinate.environment import EnvRunCoordinator
from ipycron.coordinate.protocol import RenewingCoordinator, RunCoordinator
from ipycron.coordinate.redis import Health, RedisRunCoordinator
from ipycron.coordinate.sqlite import SQLiteRunCoordinator

__all__ = [
    "EnvRunCoordinator",
    "Health",
    "RedisRunCoordinator",
    "RenewingCoordinator",
    "RunCoordinator",
    "SQLiteRunCoordinator",
]
