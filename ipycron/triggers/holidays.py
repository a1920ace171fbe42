"""`holidays`: the public holidays of a country, by the package of that name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipycron.errors import InvalidOption, suggest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date


@dataclass(frozen=True, slots=True)
class Holidays:
    """What `holidays` returns: a country and a part of it, both known."""

    country: str
    subdiv: str | None

    def list_dates(self, years: Iterable[int]) -> list[date]:
        """Return the holidays of some years, in order."""
        library = _load(self.country)
        found = library.country_holidays(self.country, subdiv=self.subdiv, years=years)
        return sorted(found)

    def __str__(self) -> str:
        part = "" if self.subdiv is None else f"-{self.subdiv}"
        return f"holidays:{self.country}{part}"


def holidays(country: str, subdiv: str | None = None) -> Holidays:
    """Return the public holidays of a country, for the option `exclude`.

    They are listed when a task is declared, for fifty years to come: the package
    `holidays` is not needed where the task's schedule is kept. Install it with
    ``pip install 'ipycron[holidays]'``.

    Args:
        country: its ISO code, such as ``"DE"``.
        subdiv: the code of a state or province, such as ``"BE"`` for Berlin; by default
            the holidays of the whole country only.

    Raises:
        InvalidOption: if the package is not installed, or does not know the country or
            the part.
    """
    known = _load(country).list_supported_countries()
    code = _fold(country)
    if code not in known:
        raise InvalidOption(
            option="holidays",
            value=country,
            expected="the code of a country, such as 'DE'",
            advice=suggest(code, known).strip(),
        )
    parts = sorted(known[code])
    part = _find_part(subdiv, parts)
    if subdiv is not None and part is None:
        listed = f"one of {', '.join(parts)}" if parts else f"none: {code} has no parts"
        raise InvalidOption(option="subdiv", value=subdiv, expected=listed)
    return Holidays(code, part)


def _find_part(subdiv: object, parts: list[str]) -> str | None:
    folded = _fold(subdiv)
    return next((part for part in parts if part.upper() == folded), None)


def _fold(code: object) -> str:
    return code.strip().upper() if isinstance(code, str) else ""


def _load(country: object) -> Any:
    try:
        import holidays as library  # noqa: PLC0415 - an extra
    except ImportError:
        raise InvalidOption(
            option="holidays",
            value=country,
            expected="the package holidays to be installed",
            advice="pip install 'ipycron[holidays]'",
        ) from None
    return library


def read_holidays(text: str) -> Holidays | None:
    """Return the holidays that ``holidays:DE-BE`` names; None for other text."""
    keyword, has_code, code = text.partition(":")
    if keyword.strip().lower() != "holidays" or not has_code:
        return None
    country, has_part, part = code.strip().partition("-")
    return holidays(country, part if has_part else None)
