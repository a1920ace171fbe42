"""Figures as a table, in Markdown, its columns aligned for a terminal."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from figures import OURS
from peers import NODE_CRON, VERSION, find_node_cron

if TYPE_CHECKING:
    from figures import Figure

LIBRARIES = ("APScheduler", "schedule", "croniter", "cronsim")
COLUMNS = (NODE_CRON, *LIBRARIES)
MISSING = "not installed"


def make_table(figures: list[Figure]) -> list[str]:
    """Return the table in Markdown, its columns aligned for a terminal."""
    others = sorted({n for f in figures for n in f.values} - {OURS, *COLUMNS})
    heads = ["work", OURS, "goal", "", *map(name_column, COLUMNS), "others"]
    rows = [[*make_row(figure), make_others(figure, others)] for figure in figures]
    widths = [max(len(row[at]) for row in [heads, *rows]) for at in range(len(heads))]
    rule = ["-" * width for width in widths]
    return [
        "| " + " | ".join(map(str.ljust, row, widths)) + " |"
        for row in [heads, rule, *rows]
    ]


def name_column(name: str) -> str:
    """Return the head of a peer's column, which says where there is no peer."""
    version = VERSION if name == NODE_CRON and find_node_cron() else None
    if name != NODE_CRON:
        version = find_version(name)
    is_missing = version in (None, MISSING)
    return f"{name} ({MISSING})" if is_missing else name


def make_row(figure: Figure) -> list[str]:
    """Return the cells of one figure, but the last."""
    verdict = {None: "", True: "met", False: "**missed**"}[figure.is_met]
    ours = f"{format_value(figure.values[OURS])} {figure.unit}".strip()
    peers = [make_cell(figure, name) for name in COLUMNS]
    return [figure.what, ours, describe_goal(figure), verdict, *peers]


def describe_goal(figure: Figure) -> str:
    """Return the goal in words."""
    words = []
    if figure.most is not None:
        words.append(f"≤ {format_value(figure.most)}")
    if figure.share is not None:
        part = "" if figure.share == 1 else describe_share(figure.share) + " of "
        wait = f" + {format_value(figure.wait)}" if figure.wait else ""
        words.append(f"≤ {part}{figure.peer}{wait}")
    return ", ".join(words)


def describe_share(share: float) -> str:
    """Return a share as people say it."""
    return f"1/{1 / share:.0f}" if share < 1 else f"{share:g} times"


def make_cell(figure: Figure, name: str) -> str:
    """Return a peer's value and how many times ours it is."""
    if name not in figure.values:
        return ""
    value = format_value(figure.values[name])
    if not figure.values[OURS]:
        return value
    return f"{value} ({format_value(figure.get_ratio(name))}×)"


def make_others(figure: Figure, names: list[str]) -> str:
    """Return the cell of the peers that have no column of their own."""
    cells = [f"{n}: {make_cell(figure, n)}" for n in names if n in figure.values]
    return ", ".join(cells)


def format_value(value: float) -> str:
    """Return three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def make_summary(figures: list[Figure]) -> list[str]:
    """Return how many goals are met, and a list of those that are not."""
    judged = [figure for figure in figures if figure.is_met is not None]
    missed = [figure for figure in judged if not figure.is_met]
    met = len(judged) - len(missed)
    lines = [f"{met} of {len(judged)} goals met."]
    if missed:
        lines += ["", "Missed:", ""]
    for figure in missed:
        bound = format_value(min(figure.bounds))
        ours = format_value(figure.values[OURS])
        lines.append(f"- {figure.what}: {ours} of {bound} {figure.unit}".rstrip())
    return lines


def find_version(name: str) -> str:
    """Return the version of a library, or that it is missing."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return MISSING
