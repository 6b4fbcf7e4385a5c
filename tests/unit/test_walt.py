"""The package `walt` as its users have it: what it offers, and that the examples in its docstrings are true."""

import doctest
import importlib
import inspect
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import walt
from walt import replies
from walt.contracts.errors import Failed
from walt.contracts.nodes import Changed, NodeView

ROOT = Path(__file__).parents[2]
MODULES = ["walt", "walt.client", "walt.client_toml", "walt.configuration", "walt.replies"]


def test_import_walt_imports_nothing():
    code = "import sys; before = set(sys.modules); import walt; print(*sorted(set(sys.modules) - before))"
    argv = [sys.executable, "-S", "-c", code]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["walt"]


def test_names_are_loaded_when_they_are_used():
    assert set(walt.__all__) <= set(dir(walt))
    for name in walt.__all__:
        assert inspect.getdoc(getattr(walt, name))
    with pytest.raises(AttributeError, match="module 'walt' has no attribute 'nothing'"):
        _ = walt.nothing


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def public(module):
    for name, value in vars(module).items():
        is_own = getattr(value, "__module__", None) == module.__name__
        if is_own and (inspect.isclass(value) or inspect.isfunction(value)) and not name.startswith("_"):
            yield value


@pytest.mark.parametrize("name", MODULES[1:])
def test_every_public_name_has_an_example(name):
    """Of code, that is: a block that is indented in the docstring, or a prompt."""
    for value in public(importlib.import_module(name)):
        lines = (inspect.getdoc(value) or "").splitlines()
        assert any(line.startswith(("    ", ">>> ")) for line in lines), value


ROW = {
    "name": "a", "owner": "", "state": "booted", "since": 1, "reason": "", "type": "virtual", "ip": "", "mac": "",
    "image": "", "host": "",
}  # fmt: skip


def test_replies_are_values():
    changed = replies.read(Changed, {"nodes": [{**ROW, "newer": 1}]})
    assert changed.nodes[0].name == "a" and changed.nodes[0].config == {} and changed.notes == ()
    assert replies.read(list[NodeView], [ROW, ROW]) == [changed.nodes[0]] * 2


def test_options_stay_none():
    @dataclass(frozen=True)
    class Part:
        number: int | None = None

    part = replies.read(list[Part], [{"number": None}, {"number": 1}, {}])
    assert [one.number for one in part] == [None, 1, None]


@pytest.mark.parametrize("reply", [{"name": "a"}, [], "a", 7])
def test_reply_of_another_version_is_told(reply):
    with pytest.raises(Failed, match="this walt and the platform are of different versions"):
        replies.read(NodeView, reply)
