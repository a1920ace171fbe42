"""The library settings that a notebook has changed. Imports no library."""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ipycron.process.wire.by_value import is_made_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.process.shell.settings import Filter

_OF_THE_PROCESS = frozenset(
    {"backend", "backend_fallback", "interactive", "tk.window_focus", "toolbar"}
)
"""Parameters of matplotlib that determine where it shows figures, not how."""

_NUMPY_PRINTS = {
    "edgeitems": 3,
    "floatmode": "maxprec",
    "formatter": None,
    "infstr": "inf",
    "legacy": False,
    "linewidth": 75,
    "nanstr": "nan",
    "override_repr": None,
    "precision": 8,
    "sign": "-",
    "suppress": False,
    "threshold": 1000,
}
_NUMPY_ERRORS = {
    "divide": "warn",
    "invalid": "warn",
    "over": "warn",
    "under": "ignore",
}
_ASSIGNMENT = re.compile(r"^[ \t]*(\w+)\.(\w+)[ \t]*[-+*/|&]?=(?!=)", re.MULTILINE)
_DECIMAL = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")


def read_settings(shell: Any) -> dict[str, Any]:
    """Return the changed settings by library, for `apply_settings`."""
    settings = {}
    for library, read in _READERS.items():
        if library in sys.modules:
            # Their internals may differ in other versions.
            with contextlib.suppress(AttributeError, LookupError, TypeError):
                settings[library] = read(sys.modules[library])
    settings["InlineBackend"] = _read_inline_backend(shell)
    return {library: changed for library, changed in settings.items() if changed}


def read_edits(shell: Any) -> dict[str, dict[str, Any]]:
    """Return what the notebook's cells have assigned to module attributes.

    ``config.rate = 7``: a worker imports `config` as it is in its file. Modules of the
    standard library are left out, since some hold the state of the process.
    """
    names = {
        name: module
        for name, module in list(shell.user_ns.items())
        if isinstance(module, ModuleType) and _is_edited_by_users(module)
    }
    edits: dict[str, dict[str, Any]] = {}
    for cell in shell.user_ns.get("In", ()) if names else ():
        for name, attribute in _ASSIGNMENT.findall(cell):
            module = names.get(name)
            if module is not None and attribute in vars(module):
                value = vars(module)[attribute]
                edits.setdefault(module.__name__, {})[attribute] = value
    return edits


def _is_edited_by_users(module: ModuleType) -> bool:
    root = module.__name__.partition(".")[0]
    is_standard = root in sys.stdlib_module_names or root == "__main__"
    return not (is_standard or is_made_module(module))


def _read_matplotlib(matplotlib: Any) -> dict[str, Any]:
    # Bypasses its own methods: reading the backend would choose one.
    before = dict(dict.items(matplotlib.rcParamsOrig))
    return {
        name: value
        for name, value in dict.items(matplotlib.rcParams)
        if name not in _OF_THE_PROCESS
        and not name.startswith("webagg.")
        and value != before.get(name)
    }


def _read_pandas(pandas: Any) -> dict[str, Any]:
    config = sys.modules["pandas._config.config"]
    deprecated: Any = config._deprecated_options  # noqa: SLF001 - there is no list of them
    options: Any = config._registered_options  # noqa: SLF001 - as above
    values = {name: pandas.get_option(name) for name in options.keys() - deprecated}
    return {n: value for n, value in values.items() if value != options[n].defval}


def _read_numpy(numpy: Any) -> dict[str, Any]:
    prints = _find_changes(numpy.get_printoptions(), _NUMPY_PRINTS)
    errors = _find_changes(numpy.geterr(), _NUMPY_ERRORS)
    return {"print": prints, "errors": errors} if prints or errors else {}


def _find_changes(now: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    return {n: value for n, value in now.items() if n in before and value != before[n]}


def _read_decimal(decimal: Any) -> dict[str, Any]:
    context, before = decimal.getcontext(), decimal.DefaultContext
    now = {name: getattr(context, name) for name in _DECIMAL}
    changed = {n: value for n, value in now.items() if value != getattr(before, n)}
    if context.traps != before.traps:
        changed["traps"] = dict(context.traps)
    return changed


def _read_warnings(_: Any) -> list[Filter]:
    return [
        (action, _get_text(message), _name_category(kind), _get_text(module), line)
        for action, message, kind, module, line in warnings.filters
    ]


def _name_category(category: Any) -> Any:
    module = category.__module__
    return category if module == "__main__" else (module, category.__qualname__)


def _get_text(pattern: Any) -> str | None:
    text: str | None = getattr(pattern, "pattern", pattern)
    return text


def _read_inline_backend(shell: Any) -> dict[str, Any]:
    """Return the settings that ``%config InlineBackend`` has changed."""
    changed = dict(shell.config.get("InlineBackend", {}))
    module: Any = sys.modules.get("matplotlib_inline.config")
    if module is not None and module.InlineBackend.initialized():
        backend = module.InlineBackend.instance()
        for name in backend.trait_names(config=True):
            value = getattr(backend, name)
            if value != backend.trait_defaults(name):
                changed[name] = value
    if "figure_formats" in changed:
        changed.pop("figure_format", None)
    return changed


_READERS: dict[str, Callable[[Any], Any]] = {
    "decimal": _read_decimal,
    "matplotlib": _read_matplotlib,
    "numpy": _read_numpy,
    "pandas": _read_pandas,
    "warnings": _read_warnings,
}
