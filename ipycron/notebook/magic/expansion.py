"""Variables in the line of a magic: ``{name}`` and ``$name``, or one clear error.

IPython's own expansion leaves the whole line as it is where anything fails, which
would schedule a task called ``{nmae}``. Quotes, and what must stay as it is:
``{{``, ``}}`` and ``$$``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.utils.text import DollarFormatter

from ipycron.errors import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping


def expand(line: str, namespace: Mapping[str, Any]) -> str:
    """Return the line with the values of its variables.

    Raises:
        UsageError: if one cannot be evaluated; names it.
    """
    if "{" not in line and "}" not in line and "$" not in line:
        return line
    formatter = DollarFormatter()
    try:
        expanded: str = formatter.vformat(line, [], namespace)
    except NameError as error:
        name = error.name or str(error)
        near = suggest(name, [key for key in namespace if not key.startswith("_")])
        raise UsageError(
            f"{name!r} is not a variable of the notebook.{near} "
            "Write {{ }} and $$ for braces and dollar signs."
        ) from None
    except Exception as error:  # noqa: BLE001 - evaluates what the user wrote
        raise UsageError(
            f"the line cannot be expanded ({type(error).__name__}: {error}): "
            f"{line.strip()}. Write {{{{ }}}} and $$ for braces and dollar signs."
        ) from None
    return expanded
