"""Which machine runs a fire: run coordinators for a fleet.

Instances that run the same tasks ask a coordinator before each scheduled run; it
elects one. `ipycron.coordinate.session` is the client side. A script that belongs to no
fleet loads no coordinator: importing SQLite and `secrets` takes 20 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.lazy import make_getattr

if TYPE_CHECKING:
    from ipycron.coordinate.environment import EnvRunCoordinator
    from ipycron.coordinate.protocol import (
        NamingCoordinator,
        RenewingCoordinator,
        RunCoordinator,
    )
    from ipycron.coordinate.redis import Health, RedisRunCoordinator
    from ipycron.coordinate.sqlite import SQLiteRunCoordinator

__all__ = [
    "EnvRunCoordinator",
    "Health",
    "NamingCoordinator",
    "RedisRunCoordinator",
    "RenewingCoordinator",
    "RunCoordinator",
    "SQLiteRunCoordinator",
]

_HOMES = {
    "ipycron.coordinate.environment": ("EnvRunCoordinator",),
    "ipycron.coordinate.protocol": (
        "NamingCoordinator",
        "RenewingCoordinator",
        "RunCoordinator",
    ),
    "ipycron.coordinate.redis": ("Health", "RedisRunCoordinator"),
    "ipycron.coordinate.sqlite": ("SQLiteRunCoordinator",),
}

__getattr__ = make_getattr(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
