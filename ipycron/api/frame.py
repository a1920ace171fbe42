"""Data frames of pandas, which is only imported for them."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pandas import DataFrame


def make_frame(
    columns: Mapping[str, Sequence[Any]],
    *,
    instants: Collection[str] = (),
    whole: Collection[str] = (),
    numbers: Collection[str] = (),
) -> DataFrame:
    """Return columns as a data frame, with types that do not depend on the values.

    Args:
        columns: the values, by the columns' names; texts unless said otherwise.
        instants: the columns of aware datetimes; all get one zone.
        whole: the columns of integers, some of which may be missing.
        numbers: those of floats.

    Raises:
        ImportError: if pandas is not installed.
    """
    try:
        import pandas as pd  # noqa: PLC0415 - half a second, for those who ask for it
    except ImportError as error:
        message = "to_pandas() needs pandas, which is not installed: pip install pandas"
        raise ImportError(message) from error
    zones = {v.tzinfo for name in instants for v in columns[name] if v is not None}
    zone = zones.pop() if len(zones) == 1 else UTC

    def convert(name: str, values: Sequence[Any]) -> Any:
        if name in instants:
            found = pd.to_datetime(pd.Series(values, dtype="object"), utc=True)
            return found.dt.as_unit("us").dt.tz_convert(zone)
        kind = "Int64" if name in whole else "float64" if name in numbers else "string"
        return pd.Series(values, dtype=kind)

    return pd.DataFrame({name: convert(name, v) for name, v in columns.items()})
