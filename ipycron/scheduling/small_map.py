"""A map optimised for one item: most tasks have one run at a time, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

K = TypeVar("K")
V = TypeVar("V")


class SmallMap(Generic[K, V]):
    """Items by key, oldest first: 64 bytes for one item, none for an empty map.

    A dict or set of one item takes 250 bytes, and a thousand tasks that run in the same
    second would need three thousand of them. `add` and `remove` return the map to use
    instead of this one. A reader in another thread sees every item that is not removed.

    >>> items = SmallMap().add("a", 1).add("b", 2)
    >>> items.values()
    (1, 2)
    >>> items.remove("a").remove("b") is NOTHING
    True
    """

    __slots__ = ("_key", "_others", "_value")

    def __init__(self) -> None:
        self._key: K | None = None
        self._value: V | None = None
        self._others: dict[K, V] | None = None

    def add(self, key: K, value: V) -> SmallMap[K, V]:
        """Add an item under a new key; return the resulting map."""
        items: SmallMap[K, V] = SmallMap() if self is NOTHING else self
        if items._key is None and items._others is None:
            items._key, items._value = key, value
        else:
            items._others = items._others or {}
            items._others[key] = value
        return items

    def remove(self, key: K) -> SmallMap[K, V]:
        """Remove an item, if present; return the resulting map."""
        if self._key == key:
            self._key = self._value = None
        elif self._others is not None:
            self._others.pop(key, None)
            self._others = self._others or None
        return NOTHING if self._key is None and self._others is None else self

    def get(self, key: K) -> V | None:
        """Return an item; None if it is not present."""
        if self._key == key:
            return self._value
        return None if self._others is None else self._others.get(key)

    def values(self) -> tuple[V, ...]:
        """Return a snapshot of the items, oldest first."""
        value, others = self._value, self._others
        first = () if value is None else (value,)
        return first if others is None else (*first, *others.copy().values())

    def __iter__(self) -> Iterator[K]:
        """Iterate over a snapshot of the keys, oldest first."""
        key, others = self._key, self._others
        if key is not None:
            yield key
        yield from () if others is None else others.copy()

    def __bool__(self) -> bool:
        return self._key is not None or self._others is not None


NOTHING: SmallMap[Any, Any] = SmallMap()
"""The shared empty map. Never mutated."""
