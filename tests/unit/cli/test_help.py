"""The help topics: complete, findable, and true to the commands and to the grammar."""

import re
import shlex

import pytest

from cli.topics import FOLDER, text_of, topics
from cli.tree import run
from tests.unit.cli.command_lines import check
from tests.unit.cli.fakes import FakeClient
from walt.contracts.disks import TEMPLATES
from walt.contracts.errors import NotFound
from walt.contracts.links import LINK_OPTIONS
from walt.contracts.settings import SETTINGS, parse_settings
from walt.contracts.vmrunner import STATES

EXPECTED = ["boot", "console", "disks", "images"]
EXPECTED += ["labs", "networks", "nodes", "ownership", "scripting", "settings", "traces", "users"]


def shown(topic):
    text = text_of(topic)
    return [line.strip() for line in text.splitlines() if line.startswith("    walt ")]


LINES = [line for topic in topics() for line in shown(topic)]
MENTIONED = [words for topic in topics() for words in re.findall(r"'(walt [^']+)'", text_of(topic))]


def test_topics_are_there():
    assert topics() == EXPECTED


@pytest.mark.parametrize("line", LINES)
def test_command_line_is_one(line):
    check(line.split(" || ")[0])


@pytest.mark.parametrize("words", MENTIONED)
def test_command_that_is_mentioned_is_one(words):
    check(words, complete=words.count(" ") > 2)


def test_there_are_many_command_lines():
    assert len(LINES) > 50


@pytest.mark.parametrize("line", [line for line in LINES if re.match(r"walt (node|device) (config|create)", line)])
def test_settings_shown_are_settings(line):
    words = shlex.split(line.split("   ")[0])
    parse_settings([word for word in words if "=" in word and not word.startswith("--")])


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.name)
def test_text_fits_a_terminal(path):
    assert path.suffix == ".txt"
    text = path.read_text()
    assert text.endswith("\n")
    assert max(map(len, text.splitlines())) <= 120
    assert "\t" not in text


def test_words_of_the_grammar_are_all_explained():
    assert not [name for name in SETTINGS if f"\n{name} " not in text_of("settings")]
    assert not [name for name in LINK_OPTIONS if f"\n{name}= " not in text_of("settings")]
    assert not [name for name in TEMPLATES if f"\n    {name} " not in text_of("disks")]
    assert not [name for name in STATES if f"\n    {name} " not in text_of("nodes")]
    assert not [code for code in (0, 1, 2, 3, 4, 5, 6, 124, 130) if f"\n    {code} " not in text_of("scripting")]


def test_overview_has_a_line_for_each(capsys):
    assert run(["help"], FakeClient()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == topics()
    assert all(len(line) <= 120 for line in lines)


def test_topic_that_is_not(capsys):
    with pytest.raises(NotFound, match=r"no help on 'disk' \(did you mean disks\?\); there is help on: boot, console"):
        text_of("disk")
    assert run(["help", "../topics/disks"], FakeClient()) == 3
    assert "no help on '../topics/disks'" in capsys.readouterr().err


def test_fault_b25_b33_what_a_node_is_not_is_told():
    """How large its root is, and which modules its kernel lacks."""
    assert "half of the node's memory" in text_of("boot")
    assert "What a node is not:" in text_of("nodes")
    assert all(module in text_of("images") for module in ("vcan", "batman_adv", "mac80211_hwsim", "ppp"))
