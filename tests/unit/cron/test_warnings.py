"""Valid but perhaps unintended: steps wider than the range they step through."""

from __future__ import annotations

import pytest

from ipycron.cron import CronExpression


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("*/90 * * * * *", ["second: the step of '*/90' is wider than its 60 values"]),
        ("*/90 * * * *", ["minute: the step of '*/90' is wider than its 60 values"]),
        ("0 */36 * * *", ["hour: the step of '*/36' is wider than its 24 values"]),
        ("0 0 */45 * *", ["day of month: the step of '*/45' is wider than its 31"]),
        ("0 0 1 */18 *", ["month: the step of '*/18' is wider than its 12 values"]),
        ("0 0 * * */14", ["day of week: the step of '*/14' is wider than its 7"]),
        ("0-10/20 * * * *", ["minute: the step of '0-10/20' is wider than its 11"]),
        ("50/20 * * * *", ["minute: the step of '50/20' is wider than its 10"]),
        ("59/2 * * * *", ["minute: the step of '59/2' is wider than its 1 value,"]),
        ("55-5/30 * * * *", ["minute: the step of '55-5/30' is wider than its 11"]),
        ("H/90 * * * *", ["minute: the step of 'H/90' is wider than its 60 values"]),
        ("5,*/61 */25 * * *", ["minute: the step of '*/61'", "hour: the step of"]),
        # The only value left is what was meant.
        ("*/60 */24 */31 */12 */7", []),
        ("0-58/2 1/5 * * *", []),
        ("H/15 H * * *", []),
        ("@daily", []),
    ],
)
def test_step_wider_than_its_field_is_warned_of(text, warned):
    """Each is reported with its field, its text and the number of values."""
    found = CronExpression(text, hash_id="job").warnings
    assert len(found) == len(warned)
    assert all(map(str.startswith, found, warned))
