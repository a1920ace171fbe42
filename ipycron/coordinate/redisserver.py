"""One interface to a Redis server, for plain and asyncio clients.

The coordinator's logic is written once, as coroutines. With a plain client they never
suspend, and `finish` runs them on the spot.

Imported once a client exists: its package is then installed, and the imports, which
cost more than all the rest, are already done.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from redis.asyncio import BlockingConnectionPool, ConnectionPool
from redis.exceptions import RedisError

from ipycron.errors import CoordinatorError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

T = TypeVar("T")

_CONNECTIONS = 16
"""Maximum connections per loop; further simultaneous elections wait."""


class BlockingServer:
    """A server reached through a `redis.Redis`, which is safe in threads and forks."""

    def __init__(self, client: Redis) -> None:
        self._client: Any = client

    async def evaluate(self, script: str, key: str, *args: str | int) -> int:
        """Return the script's answer. Blocks; never suspends.

        Raises:
            CoordinatorError: if the server cannot be reached or refuses.
        """
        with _reporting():
            return int(self._client.eval(script, 1, key, *args))

    async def get(self, key: str) -> str | None:
        """Return the text of a key; see `evaluate`."""
        with _reporting():
            return _to_text(self._client.get(key))

    def copy(self) -> BlockingServer:
        """Return itself: the client's connections are the caller's."""
        return self

    async def close(self) -> None:
        """Do nothing: the client is the caller's."""

    def finish(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run `coroutine`, which does not suspend."""
        try:
            coroutine.send(None)
        except StopIteration as end:
            result: T = end.value
            return result
        raise AssertionError("a coroutine suspended without a loop")


class AsyncServer:
    """A server reached through connections like those of a `redis.asyncio.Redis`.

    The client's own connections belong to the loop that opened them, often the
    notebook's, which is blocked while a cell is busy. So each calling loop gets a
    client of its own, kept until `close` on that loop.
    """

    def __init__(self, client: AsyncRedis) -> None:
        self._client: Any = client
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = (
            WeakKeyDictionary()
        )

    async def evaluate(self, script: str, key: str, *args: str | int) -> int:
        """Return the script's answer.

        Raises:
            CoordinatorError: if the server cannot be reached or refuses.
        """
        client = self._get_client()
        with _reporting():
            return int(await client.eval(script, 1, key, *args))

    async def get(self, key: str) -> str | None:
        """Return the text of a key; see `evaluate`."""
        client = self._get_client()
        with _reporting():
            return _to_text(await client.get(key))

    def _get_client(self) -> Any:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = _copy(self._client)
        return self._clients[loop]

    def copy(self) -> AsyncServer:
        """Return the same server with connections that are closed separately."""
        return AsyncServer(self._client)

    async def close(self) -> None:
        """Close the connections that were opened on this loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None and client is not self._client:
            await client.aclose()

    def finish(self, coroutine: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """Return `coroutine`, to be awaited on the calling loop."""
        return coroutine


def _to_text(value: bytes | str | None) -> str | None:
    """Return a response as text, whether or not the client decodes responses."""
    return value.decode() if isinstance(value, bytes) else value


def _copy(client: Any) -> Any:
    """Return a client with the settings of `client` and its own connections.

    Clients of a cluster or of Sentinel are returned as they are: not all of their
    settings are in the pool.
    """
    pool: Any = getattr(client, "connection_pool", None)
    if type(pool) not in {ConnectionPool, BlockingConnectionPool}:
        return client
    # A blocking pool, since at its limit a plain one fails instead of waiting.
    return type(client).from_pool(
        BlockingConnectionPool(
            max_connections=_CONNECTIONS,
            connection_class=pool.connection_class,
            **pool.connection_kwargs,
        )
    )


@contextmanager
def _reporting() -> Iterator[None]:
    """Convert what the client raises into a `CoordinatorError`."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise CoordinatorError(
            reason=f"Redis: {type(error).__name__}: {error}"
        ) from error
