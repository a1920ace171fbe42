"""The examples of `docs/triggers.md`."""

import re
from pathlib import Path

import pytest

import ipycron
from ipycron.triggers.union import read_trigger

TEXT = (Path(__file__).parents[2] / "docs/triggers.md").read_text("utf-8")


def test_documented_examples_run():
    """One after another, as they stand there."""
    names = {}
    for program in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(compile(program, "docs/triggers.md", "exec"), names)
    assert len(ipycron.get_tasks()) > 10
    ipycron.shutdown()


def test_documented_texts_are_those_of_the_triggers():
    """The table of texts."""
    rows = re.findall(
        r"^\| `(\w+\(.*?)` \| `(.*?)` \| `%%cron (.*?)` \|$", TEXT, re.MULTILINE
    )
    assert len(rows) == 6
    for call, text, words in rows:
        trigger = eval(call, vars(ipycron), {n: getattr(ipycron, n) for n in NAMES})
        written = read_trigger(text.replace(r"\|", "|"))
        assert written.describe() == trigger.describe()
        assert read_trigger(words.replace(r"\|", "|")) == written


NAMES = ("any_of", "at", "every", "rrule")


@pytest.mark.parametrize(
    "value",
    [
        "2026-12-24",
        "2026-12-24..2027-01-01",
        "sat,sun",
        "mon-fri",
        "22:00-06:00",
        "mon-fri 12:00-13:00",
    ],
)
def test_documented_exclusions_are_accepted(value):
    """The table of exclusions."""
    assert f'"{value}"' in TEXT
    task = ipycron.create_task("*/30 * * * *", int, exclude=value)
    assert task.options.exclude.text == value
    ipycron.shutdown()
