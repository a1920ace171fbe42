"""A table at the end of a test run: what was tried, what survived, what was lost.

A count travels with its test's report, so that it arrives from every process of
pytest-xdist.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager

_TEST = "ipycron-scored-test"
_COUNT = "ipycron-score"


class Scoreboard:
    """A pytest plugin that prints the tables of all tests in the summary."""

    def __init__(self):
        self._rows = {}
        self._failed = set()

    def pytest_runtest_logreport(self, report):
        """Add up the counts of a test that has ended."""
        if report.failed:
            self._failed.add(report.nodeid)
        if report.when != "teardown":
            return
        for name, value in report.user_properties:
            if name == _COUNT:
                self._add(*value)
            elif name == _TEST:
                self._add(*value, 1, int(report.nodeid in self._failed), "")

    def _add(self, table, row, tried, lost, note):
        """Add to a table's row; the last note is kept."""
        counter, _ = self._rows.setdefault(table, {}).get(row) or (Counter(), "")
        counter.update(tried=tried, lost=lost)
        self._rows[table][row] = counter, note

    def pytest_terminal_summary(self, terminalreporter):
        """Print every table."""
        for table, rows in self._rows.items():
            terminalreporter.section(table)
            width = max(len(row) for row in rows)
            head = f"{'':{width}}  tried  survived  lost"
            terminalreporter.write_line(head)
            for row, (counter, note) in rows.items():
                terminalreporter.write_line(
                    f"{row:{width}}  {counter['tried']:5}"
                    f"  {counter['tried'] - counter['lost']:8}"
                    f"  {counter['lost']:4}  {note}"
                )


def score_test(request, table, row):
    """Count this test in a table's row."""
    request.node.user_properties.append((_TEST, (table, row)))


def count_score(request, table, row, *, tried=1, lost=0, note=""):
    """Add to a table's row; the last note is printed next to it."""
    value = (table, row, int(tried), int(lost), note)
    request.node.user_properties.append((_COUNT, value))


@contextmanager
def scored(request, table, row):
    """Count a scenario as survived, or as lost if the block raises.

    Yields a list; what is put into it is printed beside the counts.
    """
    notes = []
    try:
        yield notes
    except BaseException:
        count_score(request, table, row, lost=1, note=" ".join(notes))
        raise
    count_score(request, table, row, note=" ".join(notes))
