"""Names, outputs and errors with markup, escapes or excessive length, on the page."""

from __future__ import annotations

import pytest
from front_ends import LAB_FIRST
from hostile_texts import TEXTS
from playwright.sync_api import expect
from scores import score_test

TASK = """
import sys, ipycron
evil = {text!r}
def say():
    print(evil)
    print(evil, file=sys.stderr)
    raise ValueError(evil)
task = ipycron.schedule("0 0 1 1 *", say, background=True, name="it " + evil)
task.execute().exception(20)
"""
DOLLARS = """
import ipycron
def fail():
    raise ValueError("no $x$ in $y$")
task = ipycron.schedule("0 0 1 1 *", fail, background=True, name="of $x$ and $y$")
task.execute().exception(20)
"""
TABLES = (
    "ipycron.get_tasks()",
    "%cron list",
    "ipycron.history()",
    "ipycron.history()[0]",
    "ipycron.history().summary()",
    "ipycron.why(task, '2030-01-01')",
)
FORMULA = "from IPython.display import HTML\nHTML('<p>the formula $z$</p>')"
FIND_LIVE = """node => [...node.querySelectorAll("*")].filter(e =>
  ["SCRIPT", "STYLE", "IFRAME", "OBJECT", "A"].includes(e.tagName)
  || (e.tagName === "IMG" && !e.src.startsWith("data:"))
  || [...e.attributes].some(a => a.name.startsWith("on"))).map(e => e.outerHTML)"""
GET_WIDTHS = "node => [node.scrollWidth, node.clientWidth]"


@LAB_FIRST
@pytest.mark.parametrize("kind", TEXTS)
def test_hostile_text_is_only_text_on_the_page(request, notebook, kind):
    """In the card, in the panel and its detail, and in the saved copy."""
    score_test(request, "hostile texts on the page", kind)
    notebook.run(TASK.format(text=TEXTS[kind]))
    notebook.run("task")
    notebook.run("ipycron.panel()")
    page = notebook.page
    card = page.locator(".icr-card")
    panel = page.locator(".icr-panel")
    row = panel.locator(".icr-row")
    row.locator(".icr-opener").click()

    for view, named in ((card, card), (panel, row)):
        expect(named.locator(".icr-name")).to_contain_text("it ")
        expect(view.locator(".icr-trace:visible")).to_contain_text("ValueError")
        assert view.evaluate(FIND_LIVE) == []
        inner, outer = view.evaluate(GET_WIDTHS)
        assert inner <= outer
        expect(view.get_by_role("button", name="Destroy").first).to_be_visible()
    copies = page.locator(".ipycron-static")
    expect(copies).to_have_count(2)
    for copy in copies.all():
        assert copy.evaluate(FIND_LIVE) == []
    page.mouse.move(300, 300)
    assert page.evaluate("() => window.hacked") is None


@LAB_FIRST
def test_dollars_are_no_formulas_in_tables(notebook):
    """The notebook typesets what is between two of them in every HTML output."""
    notebook.run(DOLLARS)
    for source in (*TABLES, FORMULA):
        notebook.run(source)
    outputs = notebook.page.locator(".jp-RenderedHTMLCommon")
    expect(outputs).to_have_count(len(TABLES) + 1)
    # The last one is, after all others could have been.
    formula = outputs.filter(has_text="the formula")
    expect(formula.locator("mjx-container")).to_have_count(1)
    expect(outputs.filter(has_text="of $x$ and $y$")).to_have_count(len(TABLES))
    expect(outputs.locator("mjx-container")).to_have_count(1)
