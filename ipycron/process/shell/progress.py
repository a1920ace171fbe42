"""Progress bars of `tqdm.notebook` are text in a job: no page shows their widgets."""

from __future__ import annotations

import sys
from typing import Any

from ipycron.process.shell.imports import follow_import

_MODULE = "tqdm.notebook"


def prefer_text_bars() -> None:
    """Have `tqdm.notebook` create terminal bars, whenever it is imported."""
    follow_import(_MODULE, _replace_bars)


def _replace_bars() -> None:
    module: Any = sys.modules[_MODULE]
    base: Any = module.std_tqdm

    class TextBar(base):  # type: ignore[misc] # its base is not known here
        """A text bar that accepts the options of the widget."""

        def __init__(self, *args: Any, display: bool = True, **options: Any) -> None:
            options.setdefault("disable", not display)
            super().__init__(*args, **options)

    def trange(*args: int, **options: Any) -> Any:
        return TextBar(range(*args), **options)

    TextBar.__name__ = TextBar.__qualname__ = "tqdm_notebook"
    TextBar.__module__ = _MODULE
    module.tqdm = module.tqdm_notebook = TextBar
    module.trange = module.tnrange = trange
