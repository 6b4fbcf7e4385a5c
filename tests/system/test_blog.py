"""What the blog post says in its prose; its session at the terminal is in test_experiment."""

import json

import pytest

from tests.system import blog

SPARE = "spare"


@pytest.fixture(scope="module", autouse=True)
def spare(walt):
    walt("node", "create", SPARE, "-c", "boot.delay=300", "-c", "boot.timeout=none")  # until its console is looked at
    yield
    walt("node", "remove", SPARE, "--force")


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
    console = terminal(*blog.words("node console <vnode>", SPARE))
    console.wait_for(b"console of")
    walt(*blog.words("node reboot <vnode>", SPARE))
    for seen in (b"booting in", b"http://", b"starting the kernel", b"walt-init"):
        console.wait_for(seen, 60)
    console.type(blog.keys_that_leave())
    assert console.process.wait(10) == 0


def test_the_rest_that_the_post_names(walt):
    """Create by its prose is the fixture's, and so is remove; nothing of the post is left out."""
    known = {"create", "config", "remove", "reboot", "shell", "console", "acquire", "release"}
    assert {words.split()[1] for words in blog.named_commands()} == known
