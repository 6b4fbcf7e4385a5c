"""A boot script is a user's own: what it may take of vmrunner, and whom it may reach."""

from __future__ import annotations

import tracemalloc

import pytest

from services.vmrunner.boot.ipxe import Interpreter
from services.vmrunner.boot.origin import Origin, origin_of
from services.vmrunner.boot.script_host import Budget
from services.vmrunner.boot.script_parser import ScriptError
from tests.unit.vmrunner.test_ipxe import BASE, KERNEL, START, VARIABLES, Host, Server
from walt.contracts.errors import Failed


class Clock:
    """Time passes by `sleep` only."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


def run(script, budget=None, clock=None, **others):
    server = Server({START: script, **{BASE + name: text for name, text in others.items()}})
    clock, printed = clock or Clock(), []
    host = Host(server, printed.append, budget=budget, clock=clock)
    host.sleep = lambda seconds: (clock.pause(seconds), host.check())
    return host.loaded(Interpreter(host).run(START, VARIABLES)), server


def test_a_variable_that_doubles_takes_no_memory():
    """24 times: 2**24 times as long."""
    doubling = "set a x\n" + "set a ${a}${a}\n" * 24
    tracemalloc.start()
    with pytest.raises(ScriptError, match="line 14, set: a command that is too long"):
        run(doubling + "kernel vmlinuz\nboot")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 2**20


def test_many_references_in_one_word_take_no_memory():
    with pytest.raises(ScriptError, match="a command that is too long"):
        run("set a " + "x" * 4000 + "\necho " + "${a}" * 10_000)


def test_variables_have_a_limit_in_all():
    text = "".join(f"set a{number} {'x' * 4000}\n" for number in range(20))
    with pytest.raises(ScriptError, match="variables of the boot script have more than 65536 characters"):
        run(text)


@pytest.mark.parametrize("line", ["chain start.ipxe", "chain start.ipxe ||", "chain start.ipxe || chain start.ipxe"])
def test_a_script_that_chains_itself_ends(line):
    """Without a limit of its own, 40 such lines are 40**16 fetches."""
    with pytest.raises(
        ScriptError, match="fetches more than 64 files|more than 16 scripts chained|has run 1000 commands"
    ):
        run(f"{line}\n" * 40, **{"start.ipxe": f"{line}\n" * 40})


@pytest.mark.parametrize(
    ("script", "budget", "fault"),
    [
        ("echo a\n" * 2000, Budget(), "has run 1000 commands"),
        ("echo a || echo b ||\n" * 2000, Budget(), "has run 1000 commands"),
        ("echo 0123456789\n" * 9, Budget(output_chars=60), "prints more than 60 characters"),
        ("kernel vmlinuz ||\n" * 9, Budget(fetches=5), "fetches more than 5 files"),
        ("sleep 1000\n" * 9, Budget(), "has run for 1800 s"),
        ("sleep 999999\necho a", Budget(seconds=60), "has run for 60 s"),
        ("sleep 9999999999", Budget(), "not a number of seconds below a million"),
    ],
)
def test_limits(script, budget, fault):
    with pytest.raises(ScriptError, match=fault):
        run(script, budget)


def test_what_ends_the_boot_ends_the_script_at_its_next_command():
    class Superseded(Exception):
        pass

    looks = []

    def look() -> None:
        looks.append(1)
        if len(looks) == 3:
            raise Superseded

    server = Server({START: "echo a ||\n" * 40})
    with pytest.raises(Superseded):
        Interpreter(Host(server, look=look)).run(START, VARIABLES)
    assert len(looks) == 3


def test_a_script_cannot_fetch_the_files_of_another_node_by_taking_its_address():
    boot, server = run("set ip 10.0.0.99\nset next-server 10.0.0.1\nkernel http://10.0.0.1/x/vmlinuz\nboot")
    assert boot.kernel == KERNEL and server.asked[-1] == "http://10.0.0.1/x/vmlinuz"


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://127.0.0.1:5672/", "a boot script may fetch from 10.0.0.1 only"),
        ("http://10.0.0.2:8000/x", "a boot script may fetch from 10.0.0.1 only"),
        ("http://10.0.0.1:15672/api", "a boot script may fetch from 10.0.0.1 only"),
        ("http://10.0.0.1@10.0.0.2/x", "a boot script may fetch from 10.0.0.1 only"),
        ("tftp://10.0.0.1:69/x", "a boot script may fetch from 10.0.0.1 only"),
        ("file:///etc/shadow", "only http:// and tftp:// can be fetched"),
        ("http://10.0.0.1/../../root/x", "a path with '..' is not allowed"),
        ("http://10.0.0.1/a/%2e%2e/x", "a path with '..' is not allowed"),
        ("tftp://10.0.0.1/../x", "a path with '..' is not allowed"),
        ("http://10.0.0.1/boot/6/script.ipxe", "these are the files of another node"),
        ("http://10.0.0.1/boot/%36/script.ipxe", "these are the files of another node"),
        ("http://10.0.0.1/%62oot/006/script.ipxe", "these are the files of another node"),
        ("http://[10.0.0.1/x", "not a URL"),
    ],
)
@pytest.mark.parametrize("command", ["chain", "kernel", "initrd"])
def test_only_its_own_files_on_bootserver_can_be_fetched(command, url, fault):
    with pytest.raises(ScriptError, match=fault):
        run(f"set next-server 10.0.0.2\n{command} {url}")
    assert run(f"{command} {url} ||\nkernel vmlinuz\nboot")[1].asked == [START, BASE + "vmlinuz"]


@pytest.mark.parametrize(
    ("url", "http_url"),
    [
        ("http://s/start.ipxe", "http://s:8080/start.ipxe?node_ip=10.0.0.2"),
        ("http://s:8080/x?node_ip=10.0.0.9#a", "http://s:8080/x?node_ip=10.0.0.2"),
        ("tftp://s/x", "http://s:8080/x?node_ip=10.0.0.2"),
        ("http://s/boot/5/script.ipxe", "http://s:8080/boot/5/script.ipxe?node_ip=10.0.0.2"),
        ("http://s:8080/boot/files/ab/vmlinuz", "http://s:8080/boot/files/ab/vmlinuz?node_ip=10.0.0.2"),
        ("http://s/a%20b/%2536?node_ip=10.0.0.9", "http://s:8080/a%20b/%2536?node_ip=10.0.0.2"),
        ("http://s/boot/99999999999999999999/x", "http://s:8080/boot/99999999999999999999/x?node_ip=10.0.0.2"),
    ],
)
def test_urls_of_its_own(url, http_url):
    origin = origin_of("http://s:8080/boot/5/script.ipxe", 5, "10.0.0.2")
    assert origin == Origin("s:8080", 5, "10.0.0.2") and origin.http_url(url) == http_url
    with pytest.raises(Failed):
        origin.http_url("http://s:80/x")
