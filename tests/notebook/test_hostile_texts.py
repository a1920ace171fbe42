"""Names, outputs and errors with markup, escapes or excessive length: only text."""

import io
from html.parser import HTMLParser

import pytest
from hostile_texts import TEXTS
from rich.console import Console
from scores import score_test

import ipycron
from ipycron import get_task, get_tasks
from ipycron.cli.table import Watch

DEADLINE = 20
TABLE = "hostile texts"

TAGS = {
    *("div", "span", "pre", "table", "thead", "tbody", "tr", "th", "td", "b", "small"),
    *("details", "summary", "img", "code", "p", "br", "strong", "em"),
}


class Checker(HTMLParser):
    """Rejects anything that could run, and tags that come from the job."""

    def handle_starttag(self, tag, attrs):
        """Check a tag."""
        assert tag in TAGS, tag
        for name, value in attrs:
            assert not name.startswith("on"), name
            assert "javascript:" not in (value or "").lower()
            if name == "src":
                assert value.startswith("data:image/"), value


def check(bundle):
    """Check what a front end receives for a task or a table."""
    checker = Checker()
    checker.feed(bundle.get("text/html", ""))
    checker.close()
    for text in bundle.values():
        controls = {c for c in text if ord(c) < 32 or 0x7F <= ord(c) < 0xA0}
        assert controls <= {"\n", "\t"}, controls
        assert len(text) < 200_000


@pytest.mark.parametrize("kind", TEXTS)
def test_hostile_text_is_only_text_wherever_it_appears(session, request, kind):
    """In plain text and HTML, for a task and for the table of tasks."""
    score_test(request, TABLE, kind)
    text = TEXTS[kind]
    name = f"it {text}"
    session.names["evil"] = text
    session.run(
        "import sys\n"
        "import ipycron\n"
        "def job():\n"
        "    print(evil)\n"
        "    print(evil, file=sys.stderr)\n"
        "    raise ValueError(evil)\n"
        f"ipycron.schedule('0 0 1 1 *', job, background=True, name={name!r});"
    )
    task = get_task(name)
    error = task.execute().exception(DEADLINE)
    assert str(error) == text
    assert task.last_run.output.stdout == f"{text}\n"
    for value in (task, get_tasks()):
        check(session.shell.display_formatter.format(value)[0])
    check({"text/plain": session.run("%cron list\n%cron show --all\n%cron next --all")})


@pytest.mark.parametrize("kind", TEXTS)
def test_hostile_name_is_only_text_in_a_terminal(kind):
    """Nothing in the table of `ipycron run` moves the cursor."""
    console = Console(file=io.StringIO(), width=100)
    task = ipycron.create_task("@daily", print, name=TEXTS[kind])
    console.print(Watch([task]))
    check({"text/plain": console.file.getvalue()})
    task.destroy().result(DEADLINE)
