"""Paths that cannot hold claims are refused on creation, each with a clear error."""

import sqlite3
from pathlib import Path

import pytest

from ipycron.coordinate import SQLiteRunCoordinator
from ipycron.errors import CoordinatorError, InvalidOption


def count_descriptors():
    """Return how many descriptors this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def refuse(path):
    """Return the text of the error for a path."""
    with pytest.raises(CoordinatorError) as caught:
        SQLiteRunCoordinator(path)
    return str(caught.value)


def test_a_missing_folder_is_refused(tmp_path):
    """The error names the folder, not only the file."""
    path = tmp_path / "none" / "claims.db"
    assert refuse(path) == (
        f"run coordinator: {path}: the folder {path.parent} does not exist. Make it "
        "first, or choose another path."
    )


def test_a_file_that_is_not_a_database_is_refused_and_left_alone(tmp_path):
    """A text file must not be overwritten."""
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, " * 100)
    assert refuse(path) == (
        f"run coordinator: {path}: this is not an SQLite database. Choose a path of "
        "its own for the claims."
    )
    assert path.read_text().startswith("Dear diary")
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_instead_of_a_file_is_refused(tmp_path):
    """A common mistake."""
    assert refuse(tmp_path) == (
        f"run coordinator: {tmp_path}: unable to open database file. The claims need "
        "a file, in a folder that this user may write to, on a disk of this machine."
    )


def test_a_database_whose_table_of_claims_is_another_is_refused(tmp_path):
    """Another program's file is not written to."""
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE claims (customer TEXT)")
    connection.close()
    assert "expires_at" in refuse(path)


def test_a_refused_coordinator_leaves_no_descriptor(tmp_path):
    """An error in the constructor releases everything."""
    (tmp_path / "notes.txt").write_text("Dear diary, " * 100)
    before = count_descriptors()
    refuse(tmp_path / "notes.txt")
    assert count_descriptors() == before


def test_an_invalid_path_is_refused():
    """With the usual TypeError."""
    with pytest.raises(TypeError):
        SQLiteRunCoordinator(7)


@pytest.mark.parametrize("path", [":memory:", "", " ", "file::memory:?cache=shared"])
def test_database_of_one_process_is_refused(path):
    """Each instance would claim in its own database, and each would run."""
    with pytest.raises(InvalidOption, match="a file that all instances open"):
        SQLiteRunCoordinator(path)
