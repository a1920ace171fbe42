"""Notes of slots that have begun: each is one line that a kill cannot take back."""

import contextlib

import msgspec
import pytest

from ipycron.runlog.begun import MAX_BYTES, Begun, BegunNotes, read_begun

NOW = 20_000.0
AHEAD = 90_000.0  # of it


def make(slot, name="report"):
    """Return a note."""
    return Begun(name, slot, f"run-{slot}", "catch_up", slot + 0.5)


@pytest.fixture
def path(tmp_path):
    """Where the notes are."""
    return tmp_path / "begun"


@pytest.fixture
def write():
    """Return a function that opens a file for notes, which is closed after the test."""
    with contextlib.ExitStack() as stack:

        def write(path):
            return stack.enter_context(contextlib.closing(BegunNotes(path)))

        yield write


def test_notes_are_read_by_name_and_in_order(path, write):
    """Also those of an earlier process; a name may be any text."""
    write(path).add(make(60))
    notes = write(path)
    notes.add(make(120, 'a "b"\n\u2028ü'))
    notes.add(make(180))
    assert read_begun(path, now=NOW) == {
        "report": [make(60), make(180)],
        'a "b"\n\u2028ü': [make(120, 'a "b"\n\u2028ü')],
    }
    assert path.stat().st_mode & 0o777 == 0o600


def test_slot_that_was_withdrawn_has_not_begun(path, write):
    """One that is noted twice has begun once."""
    notes = write(path)
    notes.add(make(60))
    notes.add(make(120))
    notes.add(make(60))
    notes.add(msgspec.structs.replace(make(120), is_withdrawn=True))
    assert read_begun(path, now=NOW) == {"report": [make(60)]}


def test_nothing_is_known_without_a_file(path):
    """Nor of a folder in its place."""
    assert read_begun(path, now=NOW) == {}
    path.mkdir()
    assert read_begun(path, now=NOW) == {}


@pytest.mark.parametrize("cut", [b"\n", b'\n["report",60', b"\n\xff\x00", b"\n[]\n{}"])
def test_note_that_was_cut_short_is_no_note(path, write, cut):
    """The next one is whole all the same."""
    write(path).add(make(60))
    with path.open("ab") as file:
        file.write(cut)
    write(path).add(make(120))
    assert read_begun(path, now=NOW) == {"report": [make(60), make(120)]}


def test_files_stay_small_and_keep_the_newest(path, write):
    """Two files, of which the older one is replaced."""
    notes, count = write(path), 12_000
    for slot in range(count):
        notes.add(make(slot))
    known = [each.slot for each in read_begun(path, now=NOW)["report"]]
    assert known == list(range(count - len(known), count))
    assert 3000 < len(known) < count
    sizes = [file.stat().st_size for file in path.parent.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) < MAX_BYTES + 1000


def test_refusal_is_raised_and_the_next_note_is_tried(path, write):
    """As when a folder was taken away and has come back."""
    notes = write(path / "gone" / "begun")
    with pytest.raises(FileNotFoundError):
        notes.add(make(60))
    (path / "gone").mkdir(parents=True)
    notes.add(make(120))
    assert read_begun(path / "gone" / "begun", now=NOW) == {"report": [make(120)]}


def test_slots_of_a_clock_that_was_ahead_have_not_begun(path, write):
    """Neither when it is found out, nor when the right clock has got there (C3)."""
    notes = write(path)
    notes.add(make(NOW - 10))
    notes.add(make(NOW + AHEAD))
    known = {"report": [make(NOW - 10)]}
    assert read_begun(path, now=NOW) == known
    write(path).correct_if_ahead(NOW)
    assert read_begun(path, now=NOW + 2 * AHEAD) == known
    later = msgspec.structs.replace(make(NOW + AHEAD), run_id="again")
    notes.add(later)
    assert read_begun(path, now=NOW + 2 * AHEAD) == {
        "report": [*known["report"], later]
    }


def test_correction_voids_what_was_noted_with_later_instants(path, write):
    """A slot that was begun since the clock was right again has begun."""
    notes = write(path)
    notes.add(make(NOW + AHEAD))
    notes.add(make(NOW))
    notes.correct(NOW + 1)
    assert read_begun(path, now=NOW + 2 * AHEAD) == {"report": [make(NOW)]}


def test_notes_of_a_clock_that_was_a_little_ahead_are_valid(path, write):
    """What has passed then is not run again."""
    notes = write(path)
    notes.add(make(NOW + 3600))
    notes.correct_if_ahead(NOW)
    assert read_begun(path, now=NOW) == {"report": [make(NOW + 3600)]}
    assert len(path.read_bytes().split()) == 1
