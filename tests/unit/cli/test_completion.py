"""What completion offers, word by word."""

import os
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from cli.completion import candidates
from cli.completion.candidates import disk_words, link_words, list_words, network_words, setting_words
from cli.completion.scripts import SHELL_CLASSES, script
from cli.tree import walt
from tests.unit.cli.fakes import FakeClient, node
from walt.contracts.errors import Unreachable
from walt.contracts.links import LINK_OPTIONS, parse_option
from walt.contracts.settings import SETTINGS, parse_settings

ROOT = Path(__file__).parents[3]
NAMES = ["walt-net", "home-net"]


def test_settings_offered_are_settings():
    for name in SETTINGS:
        for word in setting_words(f"{name}=", [], lambda: ["walt-net"]):
            assert parse_settings([word])


def test_link_options_offered_are_options():
    assert link_words("", []) == [f"{name}=" for name in LINK_OPTIONS]
    for name in LINK_OPTIONS:
        for word in link_words(f"{name}=", []):
            parse_option(*word.split("="))


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (list_words("", ["a", "b"]), ["a", "b"]),
        (list_words("a,", ["a", "b"]), ["a,b"]),
        (list_words("a,b,c", ["a", "b", "cc"]), ["a,b,cc"]),
        (setting_words("", ["ram=1G"], list)[:2], ["cpu.cores=", "boot.delay="]),
        (setting_words("boot.delay=", [], list)[:2], ["boot.delay=random", "boot.delay=0"]),
        (setting_words("nosuch=", [], list), []),
        (disk_words("")[:2], ["none", "256M"]),
        (disk_words("1G,2G")[-1], "1G,2G[template="),
        (disk_words("1M[t"), ["1M[template=none]"]),
        (disk_words("1G,32M["), ["1G,32M[template=none]", "1G,32M[template=ext4]"]),
        (disk_words("x["), []),
        (network_words("", lambda: NAMES), NAMES),
        (network_words("walt-net,", lambda: NAMES), ["walt-net,home-net"]),
        (network_words("walt-net", lambda: NAMES)[-1], "walt-net["),
        (
            network_words("walt-net,new[lat=1ms,b", lambda: NAMES)[:2],
            ["walt-net,new[lat=1ms,jitter=", "walt-net,new[lat=1ms,dist="],
        ),
        (network_words("walt-net[lat=10ms", lambda: NAMES)[-1], "walt-net[lat=10ms]"),
        (network_words("walt-net,home-net[carrier=down", lambda: NAMES)[-1], "walt-net,home-net[carrier=down]"),
        (network_words("walt-net[carrier=down", lambda: NAMES)[-1], "walt-net[carrier=up"),
        (link_words("carrier=", []), ["carrier=down", "carrier=up"]),
        (link_words("carrier.", [])[0], "lat="),
        (link_words("bw.", []), ["bw.up=", "bw.down="]),
        (link_words("lat", ["lat=1ms"])[0], "jitter="),
    ],
)  # fmt: skip
def test_words(words, offered):
    assert words == offered


UNCOMPLETED = {
    None, "NAME...", "NEW_NAME", "NEW_IMAGE", "S", "N", "WHEN", "SHELL", "-- COMMAND...", "NPORT", "LPORT",
    "ADDRESS", "EXPR", "SOURCE", "[NEW_IMAGE]", "DIR", "NAME", "FILE",
}  # fmt: skip


def test_every_parameter_is_known_to_completion():
    assert {one.metavar for one in candidates.parameters(walt)} - candidates.CANDIDATES.keys() <= UNCOMPLETED


class Words(ShellComplete):
    """What would be offered after a line."""

    def __init__(self, client):
        super().__init__(walt, {"obj": client}, "walt", "_WALT_COMPLETE")

    def after(self, line):
        *words, incomplete = line.split(" ")
        return [item.value for item in self.get_completions(words[1:], incomplete)]


@pytest.fixture
def types_restored():
    before = [(one, one.type) for one in candidates.parameters(walt)]
    candidates.complete_parameters(walt)
    yield
    for one, kind in before:
        one.type = kind


@pytest.mark.usefixtures("types_restored")
def test_tree():
    nodes = [
        node("vnode1", config={"networks": "walt-net,lab[lat=1ms]"}),
        node("vnode2", config={"networks": "walt-net"}),
    ]
    images, disks = [{"name": "default"}, {"name": "alice/mine"}], [{"id": "disk-1"}, {"id": "disk-2"}]
    client = FakeClient(get_nodes=nodes, get_images=images, get_trash=disks)
    after = Words(client).after
    assert after("walt node reboot vn") == ["vnode1", "vnode2"]
    assert after("walt node reboot vnode1,") == ["vnode1,vnode2", "vnode1,my-nodes"]
    assert client.calls[-1] == ("nodes.get_nodes", {"selection": "my-nodes"})
    assert after("walt node acquire f") == ["free-nodes"]
    assert client.calls[-1] == ("nodes.get_nodes", {"selection": "all-nodes"})
    assert after("walt node boot vnode1 ") == ["default", "alice/mine"]
    assert after("walt node create x --image a") == ["alice/mine"]
    assert after("walt node create x -c ram=5") == ["ram=512M"]
    assert after("walt node config vnode1 ram=1G bo") == ["boot.delay=", "boot.timeout=", "boot.retries="]
    assert after("walt network link vnode1 l") == ["lab"]
    assert after("walt trash empty disk-1 ") == ["disk-2"]
    assert after("walt network link vnode1 lab lat=10ms b") == ["bw=", "burst="]
    assert after("walt node cp vn") == ["vnode1:", "vnode2:", "vn"]  # and files of this computer
    assert after("walt node cp file vnode1:/ro") == []
    assert after("walt image cp file al") == ["alice/mine:", "al"]
    assert after("walt help d") == ["disks"]
    assert after("walt node wait vnode1 --for st") == ["stopped"]
    assert after("walt node show -o j") == ["json"]
    assert after("walt completion z") == ["zsh"]
    assert "rename" in after("walt node re")


@pytest.mark.usefixtures("types_restored")
def test_platform_that_does_not_answer_offers_nothing():
    assert Words(FakeClient(get_nodes=Unreachable("away"))).after("walt node shell ") == []


def test_patience_has_an_end(monkeypatch):
    class Mute:
        def call(self, *_, **__):
            time.sleep(10)

    monkeypatch.setattr(candidates, "TIMEOUT_S", 0.05)
    began = time.monotonic()
    assert candidates.call_platform(candidates.CompletionRequest(Mute(), "show", ""), "nodes", "get_nodes") == []
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("shell", SHELL_CLASSES)
def test_scripts(shell):
    assert f"_WALT_COMPLETE={shell}_complete" in script(shell)


def test_bash_gets_back_what_follows_the_last_break(monkeypatch):
    bash = SHELL_CLASSES["bash"](click.Group("walt"), {}, "walt", "_WALT_COMPLETE")
    monkeypatch.setenv("COMP_LINE", "walt node config a networks=walt-net,lab[lat=1")
    monkeypatch.setenv("COMP_WORDBREAKS", " =:")
    assert bash.get_completion_args() == (["node", "config", "a"], "networks=walt-net,lab[lat=1")
    offered = [
        candidates.CompletionItem(word) for word in ("networks=walt-net,lab[lat=10ms", "networks=walt-net,lab[lat=")
    ]
    assert [bash.format_completion(item) for item in offered] == ["plain,10ms", "open,"]


def test_fish_keeps_commas():
    assert 'string split --max 1 "," $completion' in script("fish")


BASH = """
compopt() { echo -n "($2) "; }
eval "$(walt completion bash)"
complete -p walt
for COMP_LINE in "$@"; do
    COMP_POINT=${#COMP_LINE}
    COMPREPLY=()
    _walt_completion walt
    echo "${COMPREPLY[*]}"
done
"""


def test_bash_itself(tmp_path):
    program = tmp_path / "walt"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m cli "$@"\n')
    program.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "WALT_CONFIG": "/nosuch"}
    lines = [
        "walt node con",
        "walt node config a boot.delay=ra",
        "walt node config a disks=8G[template=e",
        "walt node stop ",
        "walt node cp fi",
    ]
    argv = ["bash", "-c", BASH, "bash", *lines]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    head, *answers = done.stdout.splitlines()
    assert head == "complete -o nosort -F _walt_completion walt"
    assert answers == ["config console", "random", "ext4]", "my-nodes", "(default) "]


def test_labs_of_the_user_are_offered():
    request = candidates.CompletionRequest(FakeClient(get_labs=[{"name": "blog"}, {"name": "demo"}]), "plan", "")
    assert candidates.names_from("get_labs")(request) == ["blog", "demo"]
    assert {"LAB", "[LAB]"} <= set(candidates.CANDIDATES) & set(candidates.WITH_FILES)
