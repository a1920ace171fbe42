"""The system's own time zone: where its name is found."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from ipycron.cron.timezone import follow_localtime


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, "Europe/Berlin"),
        ({"etc/timezone": "Europe/Berlin\n"}, "Europe/Berlin"),
        ({"etc/timezone": "Europe/Paris\n"}, None),
        ({"etc/timezone": "\xfc"}, None),
        ({"etc/sysconfig/clock": ""}, None),
    ],
)
def test_link_of_localtime_is_followed_unless_another_place_disagrees(
    tmp_path, monkeypatch, files, found
):
    """A link alone names the zone; if other files may disagree, `tzlocal` decides."""
    monkeypatch.delenv("TZ", raising=False)
    (tmp_path / "etc").mkdir()
    target = tmp_path / "usr" / "zoneinfo" / "Europe" / "Berlin"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"TZif")
    (tmp_path / "etc" / "localtime").symlink_to(target)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, "latin-1")
    zone = follow_localtime(str(tmp_path))
    assert zone == (found and ZoneInfo(found))


def test_localtime_is_not_followed_when_it_is_not_a_link_or_tz_is_set(
    tmp_path, monkeypatch
):
    """A plain file, no file, or ``TZ`` set: the link is not used."""
    monkeypatch.delenv("TZ", raising=False)
    assert follow_localtime(str(tmp_path)) is None
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "localtime").write_bytes(b"TZif")
    assert follow_localtime(str(tmp_path)) is None
    (tmp_path / "etc" / "localtime").unlink()
    (tmp_path / "etc" / "localtime").symlink_to("/nowhere/zoneinfo/Europe/Berlin")
    assert follow_localtime(str(tmp_path)) is None  # the system itself is at UTC
    (tmp_path / "etc" / "localtime").unlink()
    (tmp_path / "etc" / "localtime").symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    monkeypatch.setenv("TZ", "Europe/Paris")
    assert follow_localtime(str(tmp_path)) is None
