"""Every command line of the blog post works as it stands there, typed at a terminal where the post does so."""

import json
import re

import pytest

from tests.system import blog
from tests.system.platform import wait_for

SPARE = "spare"  # stands for <vnode>, <node> and <name-of-the-node>
PLACEHOLDER = re.compile(r"<[a-z-]+>")
ANSWERS_IN_BLOG = 3  # answers that the post's ping shows before its ^C
ROUND_TRIP_MS = re.compile(rb"time=([\d.]+) ms")


@pytest.fixture(scope="module", autouse=True)
def spare(walt):
    walt("node", "create", SPARE, "-c", "boot.delay=0")
    yield
    walt("node", "remove", f"{SPARE},vnode1,vnode2", "--force")


def words_of(line):
    return PLACEHOLDER.sub(SPARE, line).split()


def test_the_session_line_by_line(walt, terminal):
    for typed in blog.session():
        words = words_of(typed.words)
        if not typed.in_node:
            walt(*words)
            continue
        wait_for(lambda name=words[-1]: state(walt, name) == "booted", 240, f"{words[-1]} is booted", 0.5)
        shell = terminal(*words)
        type_in(shell, f"root@{words[-1]}:~#".encode(), typed.in_node)
        if typed.in_node[-1] == "exit":
            assert shell.process.wait(20) == 0
            assert b"ens3" in shell.seen
        else:
            assert b" 0% packet loss" in shell.seen
            # The first one also asks for the MAC address. Unshaped it would be 1 to 2 ms.
            assert all(19.0 < float(ms) < 40.0 for ms in ROUND_TRIP_MS.findall(shell.seen)[1:])


def type_in(shell, prompt, lines):
    """Each line once the prompt is there; ^C once ping has shown as many answers as in the post."""
    prompts = 1
    for line in lines:
        if line == "^C":
            shell.wait_for(b"bytes from 192.168.55.2", times=ANSWERS_IN_BLOG)
            shell.type(b"\x03")
        else:
            shell.wait_for(prompt, 60, times=prompts)
            shell.type(line.encode() + b"\r")
        prompts += not line.startswith("ping")
    if line != "exit":
        shell.wait_for(prompt, times=prompts)


def state(walt, name):
    return json.loads(walt("node", "show", name, "-o", "json").stdout)[0]["state"]


def config(walt):
    return json.loads(walt("node", "config", SPARE, "-o", "json").stdout)[SPARE]


@pytest.mark.parametrize("setting", sorted(blog.named_settings()))
def test_every_value_that_the_post_names(walt, setting):
    name, _, value = setting.partition("=")
    text = f"networks=walt-net,other-net[{setting}]" if name == "lat" else setting
    walt("node", "config", SPARE, text, "--force")
    assert config(walt)[text.partition("=")[0]] == text.partition("=")[2].replace("lat=10150us", "lat=10.15ms")


def test_values_that_the_post_regrets_to_lack(walt):
    walt(
        "node",
        "config",
        SPARE,
        "networks=walt-net,net_1[lat=10.15ms]",
        "disks=64M,300M[template=ext4],1T[template=none]",
    )
    assert config(walt)["networks"] == "walt-net,net_1[lat=10.15ms]"
    assert config(walt)["disks"] == "64M,300M[template=ext4],1T"


def test_config_without_values_prints_all_settings(walt):
    """'For getting the current value of all settings, just type walt node config <vnode>'; `walt device config` is
    a variant of it."""
    assert {"node config <vnode>", "device config"} <= blog.named_commands()
    printed = walt("node", "config", SPARE).stdout
    assert {"boot.delay", "cpu.cores", "disks", "networks", "ram"} <= {
        line.partition("=")[0] for line in printed.splitlines()
    }
    assert walt("device", "config", SPARE).stdout == printed
    walt("device", "config", SPARE, "ram=300M")
    assert config(walt)["ram"] == "300M"


def test_ownership_commands(walt):
    """'using walt node release and then walt node acquire on a virtual node is not forbidden'"""
    assert {"node release <node>", "node acquire <node>"} <= blog.named_commands()
    walt("node", "release", SPARE)
    assert SPARE in walt("node", "show", "free-nodes").stdout
    walt("node", "acquire", SPARE)
    assert SPARE in walt("node", "show").stdout


def test_console_shows_the_whole_boot_of_a_reboot_typed_elsewhere(walt, terminal):
    assert {"node console <vnode>", "node reboot <vnode>"} <= blog.named_commands()
    walt(
        "node", "config", SPARE, "boot.delay=1", "networks=walt-net", "disks=none", "cpu.cores=1", "ram=256M", "--force"
    )
    console = terminal(*words_of("node console <vnode>"))
    console.wait_for(b"console of")
    walt(*words_of("node reboot <vnode>"))
    for seen in (b"booting in", b"http://", b"starting the kernel", b"walt-init"):
        console.wait_for(seen, 60)
    console.type(blog.keys_that_leave())
    assert console.process.wait(10) == 0


def test_the_rest_that_the_post_names(walt):
    """Create by its prose is the fixture's, and so is remove; nothing of the post is left out."""
    known = {"create", "config", "remove", "reboot", "shell", "console", "acquire", "release"}
    assert {words.split()[1] for words in blog.named_commands()} == known
