"""The base of all exceptions of ipycron, and how they pickle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def suggest(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for a near miss, else an empty string."""
    import difflib  # noqa: PLC0415 - errors are rare, imports are not

    by_fold = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), by_fold, n=1, cutoff=0.6)
    return f" Did you mean {by_fold[close[0]]!r}?" if close else ""


class IpycronError(Exception):
    """Base of every exception that ipycron raises on purpose.

    Subclasses take keyword facts; `_facts` is what pickle hands to the
    constructor again, since the text alone would not rebuild the attributes.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__.startswith(f"{__package__}."):
            # Tracebacks and pickles name the place where people find it.
            cls.__module__ = __package__

    def __init__(self, text: str, /, **facts: Any) -> None:
        super().__init__(text)
        self._facts = facts
        for name, value in facts.items():
            setattr(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._facts, self.args, self.__dict__)


def _rebuild(
    cls: type[IpycronError],
    facts: dict[str, Any],
    args: tuple[Any, ...],
    state: dict[str, Any],
) -> IpycronError:
    """Rebuild a pickled error without running its constructor's text again."""
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    error._facts = facts  # noqa: SLF001 - the rebuilding half of __reduce__
    return error
