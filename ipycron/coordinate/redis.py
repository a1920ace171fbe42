"""A coordinator for many machines, on a Redis server that all of them can reach."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipycron.coordinate.protocol import describe_owner, make_owner, make_token
from ipycron.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

    from ipycron.coordinate.redisserver import AsyncServer, BlockingServer

# Redis runs a script atomically. A client that lost the reply sends the script again
# with the same arguments: the claim it then finds is its own.
_CLAIM = """
if redis.call('set', KEYS[1], ARGV[1] .. ARGV[2], 'NX', 'PX', ARGV[3]) then return 1 end
if redis.call('get', KEYS[1]) == ARGV[1] .. ARGV[2] then return 1 end
return 0
"""

# A missing claim is made again: the server has lost it (a restart without persistence)
# or it expired unrenewed, and the run is still in progress.
_RENEW = """
local holder = redis.call('get', KEYS[1])
if not holder then
  redis.call('set', KEYS[1], ARGV[1] .. ARGV[2], 'PX', ARGV[3])
  return 1
end
if string.sub(holder, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
redis.call('pexpire', KEYS[1], ARGV[3])
return 1
"""

# In microseconds; a script, so that a cluster answers like a single server.
_TIME = "local t = redis.call('time') return t[1] * 1000000 + t[2]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How well this machine's clock agrees with the server's.

    Attributes:
        is_ok: whether the drift is within the threshold.
        drift: seconds that this machine's clock is ahead; negative if behind. Exact to
            half the duration of the request.
    """

    is_ok: bool
    drift: float


class RedisRunCoordinator:
    """Claims on a Redis server, for the processes of many machines.

    Guarantees at most one run per fire while the clocks of the instances differ by
    less than the lease. A claim is a key that expires by the server's clock, `lease`
    seconds after the last renewal. Claims that the server loses (a restart without
    persistence, an eviction, a failover to a lagging replica) no longer coordinate
    anything, except that a run in progress renews its claim.

    With a `redis.Redis` the methods block; with a `redis.asyncio.Redis` they return
    awaitables. An asyncio client belongs to the caller's loop, so the coordinator opens
    connections of its own, with the same settings, on the calling loop. (Clients of a
    cluster or of Sentinel are used as they are: use them on one loop only.) The caller
    closes the client.

    Nothing is sent on creation: the server may start later. `health_check` contacts it.

    Args:
        client: the caller's client, with its retries and timeouts. It should have a
            ``socket_timeout``, which some versions of redis-py do not set: without one
            a request on a connection that died silently occupies a thread for good, and
            a coordinator has few threads.
        prefix: the prefix of the keys.
        now: this machine's clock in Unix seconds, for `health_check` only.

    Raises:
        InvalidOption: if `client` is not a Redis client, or `prefix` not a str.
        CoordinatorError: by each method, if the server cannot be reached, refuses
            the password or fails otherwise; its cause is the client's exception.
    """

    def __init__(
        self,
        client: Redis | AsyncRedis,
        *,
        prefix: str = "ipycron:claim:",
        # Compared with the server's clock, so it is this machine's.
        now: Callable[[], float] = time.time,  # noqa: TID251
    ) -> None:
        _check(client, prefix)
        self._server = _connect(client)
        self._prefix = prefix
        self._now = now
        self._token = make_token()

    def __repr__(self) -> str:
        return f"<RedisRunCoordinator {self._prefix}*>"

    def should_run(self, key: str, lease: float) -> bool | Awaitable[bool]:
        """Claim the fire; return whether it was unclaimed."""
        return self._server.finish(self._take(_CLAIM, key, lease))

    def renew(self, key: str, lease: float) -> bool | Awaitable[bool]:
        """Extend this process's claim, or make it again if it is gone."""
        return self._server.finish(self._take(_RENEW, key, lease))

    def find_holder(self, key: str) -> str | Awaitable[str | None] | None:
        """Return which process holds the claim; see `NamingCoordinator`."""
        return self._server.finish(self._find_holder(key))

    def on_complete(self, key: str) -> None:
        """Do nothing: the claim is kept until it expires."""

    def close(self) -> Awaitable[None] | None:
        """Close the connections opened on this loop; the next request opens others."""
        return self._server.finish(self._server.close())

    def health_check(self, threshold: float = 1.0) -> Health | Awaitable[Health]:
        """Return how far this machine's clock is from the server's.

        Args:
            threshold: the largest acceptable drift in seconds. The lease must exceed
                the drift between any two instances.
        """
        return self._server.finish(self._check_health(threshold))

    async def _take(self, script: str, key: str, lease: float) -> bool:
        # Redis counts whole milliseconds; a claim is never shorter than requested.
        milliseconds = math.ceil(lease * 1000)
        answer = await self._server.evaluate(
            script,
            self._prefix + key,
            make_owner(self._token),
            f"/{make_token()}",
            milliseconds,
        )
        return answer == 1

    async def _find_holder(self, key: str) -> str | None:
        value = await self._server.get(self._prefix + key)
        # After the slash comes the id of the request that made the claim.
        return None if value is None else describe_owner(value.rpartition("/")[0])

    async def _check_health(self, threshold: float) -> Health:
        server = self._server.copy()
        try:
            # A first request, so that connecting does not count as drift.
            await server.evaluate(_TIME, self._prefix)
            asked_at = self._now()
            server_time = await server.evaluate(_TIME, self._prefix) / 1_000_000
            drift = (asked_at + self._now()) / 2 - server_time
        finally:
            await server.close()
        return Health(is_ok=abs(drift) <= threshold, drift=drift)


def _connect(client: Any) -> BlockingServer | AsyncServer:
    from ipycron.coordinate.redisserver import (  # noqa: PLC0415 - see there
        AsyncServer,
        BlockingServer,
    )

    # Every asyncio client is an asynchronous context manager, no other is.
    is_async = hasattr(client, "__aenter__")
    return AsyncServer(client) if is_async else BlockingServer(client)


def _check(client: object, prefix: object) -> None:
    if not callable(getattr(client, "eval", None)) or isinstance(client, type):
        raise InvalidOption(
            option="client",
            value=type(client),  # a URL may hold a password
            expected="a redis.Redis or redis.asyncio.Redis",
            advice="redis.Redis.from_url(url) makes one from a URL.",
        )
    if not isinstance(prefix, str):
        raise InvalidOption(option="prefix", value=prefix, expected="a string")
