"""What the command says to numbers and expressions that it cannot use."""

import pytest

from ipycron.cli.command import main


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_next_wants_a_number_of_fires(capsys, number):
    """Nothing printed and exit code 0 would look like an answer."""
    with pytest.raises(SystemExit) as caught:
        main(["next", "* * * * *", "-n", number])
    assert caught.value.code == 2
    assert "argument -n" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["next", "explain"])
def test_expression_that_never_fires_is_an_error(capsys, command):
    """As when a task is created (E10)."""
    assert main([command, "0 0 30 2 *"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "never" in said.err
