"""A table at the end of a test run: what was tried, what survived, what was lost.

Not a conftest: the file that records first registers the plugin.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager

_NAME = "ipycron-scores"


class Scoreboard:
    """A pytest plugin that counts scenarios and prints them in the summary."""

    def __init__(self):
        self._rows = {}
        self._lost = set()

    def count(self, table, row, *, tried=1, lost=0, note=""):
        """Add to a row of a table; the last note stays."""
        counter, _ = self._rows.setdefault(table, {}).get(row) or (Counter(), "")
        counter.update(tried=int(tried), lost=int(lost))
        self._rows[table][row] = counter, note

    def pytest_runtest_logreport(self, report):
        """Count a test that `score_test` has marked."""
        for name, value in report.user_properties:
            # A test that passes has one report of its call, one that fails may have
            # its failure before or after.
            if name == _NAME and (report.when == "call" or report.failed):
                table, row = value
                is_lost = report.failed and report.nodeid not in self._lost
                self._lost |= {report.nodeid} if is_lost else set()
                self.count(table, row, tried=report.when == "call", lost=is_lost)

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


def get_scores(config):
    """Return the run's scoreboard."""
    manager = config.pluginmanager
    if not manager.has_plugin(_NAME):
        manager.register(Scoreboard(), _NAME)
    return manager.get_plugin(_NAME)


def score_test(request, table, row):
    """Count this test in a row of a table."""
    get_scores(request.config)
    request.node.user_properties.append((_NAME, (table, row)))


@contextmanager
def scored(config, table, row):
    """Count a scenario: survived, or lost where the block raises.

    Yields a list; what is put into it is printed beside the counts.
    """
    notes = []
    try:
        yield notes
    except BaseException:
        get_scores(config).count(table, row, lost=1, note=" ".join(notes))
        raise
    get_scores(config).count(table, row, note=" ".join(notes))
