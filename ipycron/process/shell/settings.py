"""Library settings, which a cell finds as they are in its notebook.

They are kept until the library is imported: nothing is imported just for them.
"""

from __future__ import annotations

import contextlib
import operator
import sys
import warnings
from typing import TYPE_CHECKING, Any

from ipycron.process.shell.imports import follow_import

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Filter = tuple[str, str | None, Any, str | None, int]
"""One of `warnings.filters`; the category by module and name, or the class itself if
the notebook defines it."""


def apply_settings(library: str, read: Callable[[], Any]) -> None:
    """Apply the settings of a library now, or once it is imported.

    Args:
        library: a name of `APPLY`.
        read: returns the settings.
    """
    if library == "InlineBackend":  # not a module
        APPLY[library](read())
    else:
        follow_import(library, lambda: APPLY[library](read()))


# --- the libraries --------------------------------------------------------------------


def _apply_matplotlib(settings: Mapping[str, Any]) -> None:
    parameters = sys.modules["matplotlib"].rcParams
    for name, value in settings.items():
        with contextlib.suppress(KeyError, ValueError):
            parameters[name] = value


def _apply_pandas(settings: Mapping[str, Any]) -> None:
    set_option = sys.modules["pandas"].set_option
    for name, value in settings.items():
        with contextlib.suppress(KeyError, ValueError):
            set_option(name, value)


def _apply_numpy(settings: Mapping[str, Any]) -> None:
    numpy = sys.modules["numpy"]
    numpy.set_printoptions(**settings["print"])
    numpy.seterr(**settings["errors"])


def _apply_decimal(settings: Mapping[str, Any]) -> None:
    context = sys.modules["decimal"].getcontext()
    for name, value in settings.items():
        setattr(context, name, value)


def _apply_inline_backend(settings: Mapping[str, Any]) -> None:
    from IPython import get_ipython  # noqa: PLC0415 - not in every worker

    shell = get_ipython()
    if shell is None:
        return
    shell.config.InlineBackend.update(settings)  # for a backend that is made later
    module: Any = sys.modules.get("matplotlib_inline.config")
    if module is not None and module.InlineBackend.initialized():
        backend = module.InlineBackend.instance()
        for name, value in settings.items():
            setattr(backend, name, value)


def _apply_warnings(filters: list[Filter]) -> None:
    """Set the filters; if a category is not imported yet, set its filter when it is."""
    warnings.resetwarnings()
    missing = set()
    for action, message, category, module, line in filters:
        kind = category if isinstance(category, type) else _find_category(*category)
        if kind is None:
            missing.add(category[0].partition(".")[0])
        else:
            warnings.filterwarnings(
                action,  # type: ignore[arg-type] # one of the notebook's
                message or "",
                kind,
                module or "",
                line,
                append=True,
            )
    for library in missing - sys.modules.keys():
        follow_import(library, lambda: _apply_warnings(filters))


def _find_category(module: str, name: str) -> type[Warning] | None:
    if module not in sys.modules:
        return None
    try:
        found: type[Warning] = operator.attrgetter(name)(sys.modules[module])
    except AttributeError:
        return None
    return found


APPLY: dict[str, Callable[[Any], None]] = {
    "InlineBackend": _apply_inline_backend,
    "decimal": _apply_decimal,
    "matplotlib": _apply_matplotlib,
    "numpy": _apply_numpy,
    "pandas": _apply_pandas,
    "warnings": _apply_warnings,
}
"""The function that applies the settings of each library."""
