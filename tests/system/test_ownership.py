"""Whose node it is, decided by the server on the identity that the broker vouches for."""

import json

import pytest


@pytest.fixture(scope="module")
def node(walt):
    walt("node", "create", "owned", "-c", "boot.delay=0", "-c", "cpu.cores=1", "-c", "ram=256M")
    yield "owned"
    owner = json.loads(walt("node", "show", "owned", "-o", "json").stdout)[0]["owner"]
    if not owner:
        walt("node", "acquire", "owned")
    walt("node", "remove", "owned", user=owner or "alice")


def owner_of(walt, name):
    return json.loads(walt("node", "show", name, "-o", "json").stdout)[0]["owner"]


@pytest.mark.parametrize(
    "words",
    [
        ("config", "owned", "ram=1G"),
        ("reboot", "owned"),
        ("remove", "owned"),
        ("release", "owned"),
        ("boot", "owned", "default"),
        ("acquire", "owned"),
        ("run", "owned", "--", "true"),
        ("console", "owned", "--log"),
    ],
)
def test_another_users_node_is_refused(node, walt, words):
    done = walt("node", *words, user="bob", check=False)
    assert done.status == 4
    assert "alice" in done.stderr
    assert owner_of(walt, node) == "alice"


def test_anybody_may_look(node, walt):
    assert owner_of(walt, node) == "alice"
    assert "owned" in walt("node", "show", "--all", user="bob").stdout
    assert "owned" not in walt("node", "show", user="bob").stdout


def test_release_and_acquire(node, walt):
    walt("node", "release", node)
    assert owner_of(walt, node) == ""
    assert node in walt("node", "show", "free-nodes", user="bob").stdout
    walt("node", "acquire", node, user="bob")
    assert owner_of(walt, node) == "bob"
    again = walt("node", "acquire", node, user="bob", check=False)
    assert again.status == 4


def test_taking_over_needs_force(node, walt):
    walt("node", "acquire", node, "--force", user="bob", check=False)
    refused = walt("node", "acquire", node, check=False)
    assert refused.status == 4
    assert "--force" in refused.stderr
    walt("node", "acquire", node, "--force")
    assert owner_of(walt, node) == "alice"
