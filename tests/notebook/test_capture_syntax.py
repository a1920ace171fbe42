"""Syntax errors of a cell, when it is declared."""

import pickle

import pytest

from ipycron.notebook.capture.capture import capture_names, check_syntax


@pytest.mark.parametrize(
    "source",
    [
        "",
        "# nothing",
        "await x",
        "!ls",
        "x = !ls {y}",
        "%time f(x)",
        "%%bash\nif; then",
        "async with a as b: pass",
        "[await x for x in y]",
        "len?",
        "\n\nif x:\n    %cd {x}",
    ],
)
def test_syntax_of_a_cell_is_accepted(shell, source):
    """IPython code is not a syntax error."""
    check_syntax(source, shell)


@pytest.mark.parametrize(
    ("source", "line", "text"),
    [
        ("def f(:", 1, "def f(:"),
        ("x = 1\nreturn x", 2, "return x"),
        ("\nx = 1\n  y = 2", 3, "  y = 2"),
        ("!ls \\\n  -l\nx = (", 3, "x = ("),
        ("x = '", 1, "x = '"),
        ("yield 1", 1, "yield 1"),
        ("a = 1\n\n%cd x\nbreak", 4, "break"),
        ("\nx = 1\0", 2, None),
        ("x = '\ud800'", 1, None),
    ],
)
def test_syntax_error_has_the_line_as_typed(shell, source, line, text):
    """Line number and text are those of the cell."""
    with pytest.raises(SyntaxError) as caught:
        check_syntax(source, shell, filename="<cell report>")
    error = caught.value
    assert (error.filename, error.lineno) == ("<cell report>", line)
    assert text is None or error.text.rstrip("\n") == text
    assert describe(pickle.loads(pickle.dumps(error))) == describe(error)


def describe(error):
    """Return the attributes of a syntax error."""
    place = error.filename, error.lineno, error.offset, error.text
    return error.msg, place, error.end_lineno, error.end_offset


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("\n\nif x:\n", "expected an indented block after 'if' statement on line 3"),
        ("\n!ls \\\n x\n'''a", "string literal (detected at line 4)"),
        ("!ls \\\n x\nx = (\n]", "not match opening parenthesis '(' on line 3"),
    ],
)
def test_syntax_error_mentions_lines_as_typed(shell, source, message):
    """Line numbers in messages are the cell's own."""
    with pytest.raises(SyntaxError) as caught:
        check_syntax(source, shell)
    assert message in caught.value.msg


def test_syntax_warning_is_shown_once(shell):
    """Compiler warnings are shown in the syntax check and not again."""
    with pytest.warns(SyntaxWarning, match="is"):
        check_syntax("x = 1 is 1", shell)
    capture_names("x = 1 is 1", shell)
