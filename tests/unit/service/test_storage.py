"""The doctor's checks of folders and disks, with real ones."""

import os
import stat

import pytest

from ipycron.service.storage import (
    LITTLE_SPACE,
    NO_SPACE,
    check_file_system,
    check_private,
    check_space,
    find_existing,
    judge_space,
)

is_root = hasattr(os, "geteuid") and os.geteuid() == 0


def test_private_folder_is_fine(tmp_path):
    """As is one that does not exist yet; looking does not make it."""
    folder = tmp_path / "state"
    assert check_private("folder", folder).state == "ok"
    assert not folder.exists()
    folder.mkdir(mode=0o700)
    assert check_private("folder", folder).state == "ok"


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_folder_that_others_may_enter_is_a_failure(tmp_path, mode):
    """The mode is said, and not changed."""
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(mode)
    finding = check_private("folder", folder)
    assert finding.state == "fail"
    assert f"({mode:04o})" in finding.found
    assert stat.S_IMODE(folder.stat().st_mode) == mode


def test_folder_that_is_none_is_a_failure(tmp_path):
    """A file, a link, something below a file."""
    file = tmp_path / "file"
    file.write_text("")
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    for path in (file, link, file / "state"):
        finding = check_private("folder", path)
        assert finding.state == "fail", path
        assert "IPYCRON_SERVICE_DIR" in finding.advice


@pytest.mark.skipif(not is_root, reason="needs root, to give a folder away")
def test_folder_of_another_user_is_a_failure(tmp_path):
    """Root's, too."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    finding = check_private("folder", folder)
    assert finding.state == "fail"
    assert "uid 12345" in finding.found


def test_folder_that_does_not_exist_is_judged_by_its_parent(tmp_path):
    """The disk is the one that it will be on."""
    folder = tmp_path / "a" / "b" / "c"
    assert find_existing(folder) == tmp_path
    assert str(tmp_path) in check_space(folder).found
    assert check_file_system(folder).state == "ok"


@pytest.mark.parametrize(
    ("free", "state"),
    [
        (0, "fail"),
        (NO_SPACE - 1, "fail"),
        (NO_SPACE, "warn"),
        (LITTLE_SPACE - 1, "warn"),
        (LITTLE_SPACE, "ok"),
        (1 << 60, "ok"),
    ],
)
def test_space_is_judged_by_its_size(free, state):
    """A full disk loses rows and tasks."""
    finding = judge_space(free, "/state", "free some space")
    assert finding.state == state
    assert bool(finding.advice) == (state != "ok")
