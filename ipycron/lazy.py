"""Names of a package that are imported when somebody asks for them (PEP 562)."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # see ipycron's `__init__`
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def make_getattr(
    package: str,
    homes: Mapping[str, tuple[str, ...]],
    advise: Callable[[str], str] | None = None,
) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package's `__init__`.

    Args:
        package: its name.
        homes: by module, the names that are to be found there.
        advise: takes another name, returns what to say of it, with a blank before it.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def find(name: str) -> Any:
        if name not in home_of:
            # Dunders are asked for by the interpreter and by tools, not by people.
            more = "" if advise is None or name.startswith("_") else advise(name)
            raise AttributeError(f"module {package!r} has no attribute {name!r}.{more}")
        return getattr(import_module(home_of[name]), name)

    return find
