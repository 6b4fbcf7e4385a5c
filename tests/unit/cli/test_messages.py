import io

import pytest

from cli.ui.messages import age, coloured, counted
from cli.ui.tables import table


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (0.9, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h"), (86399, "23h"), (86400 * 9, "9d")],
)
def test_age(seconds, text):
    assert age(seconds) == text


def test_table_is_aligned_without_trailing_blanks():
    assert table(["name", "ip"], [["a", "10.0.0.1"], ["longer", ""]]) == "name    ip\na       10.0.0.1\nlonger"


def test_table_shows_control_characters():
    assert table(["x"], [["a\x1b[2Jb\n"]]).splitlines() == ["x", "a\\x1b[2Jb\\n"]


class Tty(io.StringIO):
    def isatty(self):
        return True


def test_colour_only_on_a_terminal_that_wants_it(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert coloured("ok", "green", Tty()) == "\x1b[32mok\x1b[0m"
    assert coloured("ok", "green", io.StringIO()) == "ok"
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured("ok", "green", Tty()) == "ok"


def test_repeated_messages_are_counted():
    assert counted(["a", "b", "a", "a"]) == ["a (3 times)", "b"]
