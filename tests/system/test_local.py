"""Local mode itself: what `up` makes, what `down` leaves, what the host notices of it. Instances of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import network
from deploy.local.instance import Instance
from deploy.services import BROKER_PORT, MANAGEMENT_PORT, METRICS_PORTS, SERVICES
from tests.support.wait import wait_until
from tests.system.platform import CHECKOUT, Platform

IMAGES = ("default=small",)
EXIT_DOWN = 3


@pytest.fixture(scope="module")
def platforms(capable: None) -> Iterator[tuple[Platform, Platform]]:
    """Two platforms, down; their state is forgotten at the end."""
    number = os.getpid() % 100_000
    both = Platform(Instance(f"one{number}")), Platform(Instance(f"two{number}"))
    try:
        yield both
    finally:
        for platform in both:
            platform.local("clean")


def traces(instance: Instance) -> list[str]:
    """All that a running instance has on this host outside its state folder."""
    found = [f"process {pid}" for pid in network.processes(instance)]
    found += [f"process {pid}" for pid in _naming(instance)]
    links = json.loads(_ip("link", "show"))
    found += [f"link {link['ifname']}" for link in links if link["ifname"] == instance.host_link]
    found += [f"file {path}" for path in (instance.namespace_file, instance.runtime) if path.exists()]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    places = (str(instance.namespace_file), str(instance.runtime), str(instance.state))
    found += [f"mount {line}" for line in mounts if line.split()[4].startswith(places)]
    sockets = Path("/proc/net/unix").read_text().splitlines()
    return found + [f"socket {line}" for line in sockets if any(place in line for place in places)]


def _naming(instance: Instance) -> list[int]:
    """Processes, in whatever network, that were told of the instance's folders."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            told = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if f"{instance.state}/".encode() in told or f"{instance.runtime}/".encode() in told:
            found.append(int(folder.name))
    return found


def host_network() -> dict[str, object]:
    """Links, addresses, routes, forwarding and firewall of the host; not the links that instances and containers,
    which come and go meanwhile, have of their own."""
    addresses = json.loads(_ip("addr", "show"))
    return {
        "links": [(one["ifname"], one.get("master"), one["flags"]) for one in addresses if _is_host(one["ifname"])],
        "addresses": [
            (one["ifname"], address["local"])
            for one in addresses
            if _is_host(one["ifname"])
            for address in one["addr_info"]
        ],
        "routes": [line for line in json.loads(_ip("route", "show")) if _is_host(line.get("dev", ""))],
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
        "firewall": subprocess.run(
            ["nft", "--stateless", "list", "ruleset"], capture_output=True, text=True, check=False
        ).stdout,
    }


def _is_host(link: str) -> bool:
    return not link.startswith(("walt", "veth", "br-"))


def _ip(*words: str) -> str:
    return subprocess.run(["ip", "-json", *words], capture_output=True, text=True, check=True).stdout


def test_up_down_up_keeps_the_state_and_down_leaves_nothing(platforms: tuple[Platform, Platform]) -> None:
    platform, _ = platforms
    before = host_network()
    assert platform.local("status").status == EXIT_DOWN

    umask = os.umask(0o077)  # a careful root's; the broker's user reads below the state folder all the same
    try:
        platform.bring_up(IMAGES)
    finally:
        os.umask(umask)
    during = host_network()
    shown = platform.local("status")
    platform.walt("node", "create", "keeper")
    assert platform.local("down").status == 0
    left = traces(platform.instance)

    assert (shown.status, left) == (0, [])
    assert all(service in shown.stdout for service in SERVICES)
    assert during == before == host_network()
    assert platform.local("status").status == EXIT_DOWN
    assert platform.walt("node", "show", check=False).status == 6, "the platform is unreachable when down"

    platform.bring_up(IMAGES)
    nodes = json.loads(platform.walt("node", "show", "-o", "json").stdout)
    assert [(node["name"], node["owner"]) for node in nodes] == [("keeper", "alice")]


def test_the_metrics_of_every_service_are_reached_from_the_host(platforms: tuple[Platform, Platform]) -> None:
    platform, _ = platforms
    uplink = network.find(platform.instance)
    assert uplink is not None
    first_words = {**dict.fromkeys(SERVICES, "walt_entrypoint_seconds"), "rabbitmq": "rabbitmq_"}
    for service, port in METRICS_PORTS.items():
        read = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).read().decode())"
        argv = [sys.executable, "-c", read, f"http://{uplink.inside}:{port}/metrics"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert first_words[service] in done.stdout, (service, done.stderr)


def test_services_and_broker_have_the_processor_before_vms(platforms: tuple[Platform, Platform]) -> None:
    platform, _ = platforms
    found = {name: platform.pid(name) for name in (*SERVICES, "rabbitmq")}
    assert {name: os.getpriority(os.PRIO_PROCESS, pid) for name, pid in found.items()} == dict.fromkeys(found, -5)
    groups = {Path(f"/proc/{pid}/autogroup") for pid in found.values()}
    assert {one.read_text().split()[-1] for one in groups if one.exists()} <= {"-5"}


def test_the_broker_is_not_reached_by_other_addresses(platforms: tuple[Platform, Platform]) -> None:
    platform, _ = platforms
    listening = platform.inside("ss", "-Hltn").stdout
    found = {line.split()[3] for line in listening.splitlines()}
    uplink = network.find(platform.instance)
    assert uplink is not None
    amqp = {f"127.0.0.1:{BROKER_PORT}", f"{uplink.inside}:{BROKER_PORT}"}
    assert {one for one in found if one.endswith(f":{BROKER_PORT}")} == amqp
    assert {one for one in found if one.endswith(f":{MANAGEMENT_PORT}")} == {f"127.0.0.1:{MANAGEMENT_PORT}"}


def test_a_second_up_changes_nothing(platforms: tuple[Platform, Platform]) -> None:
    platform, _ = platforms
    pids = {service: platform.pid(service) for service in (*SERVICES, "rabbitmq")}
    platform.bring_up(IMAGES)
    assert {service: platform.pid(service) for service in (*SERVICES, "rabbitmq")} == pids


def test_a_new_user_is_known_without_a_restart(platforms: tuple[Platform, Platform]) -> None:
    platform, _ = platforms
    pid = platform.pid("rabbitmq")
    done = platform.local("user", "carol")
    assert (done.status, done.stdout.strip()) == (0, str(platform.instance.clients / "carol.toml"))
    assert platform.walt("node", "show", user="carol").status == 0
    assert platform.pid("rabbitmq") == pid


def test_fault_34_two_instances_side_by_side_know_nothing_of_each_other(platforms: tuple[Platform, Platform]) -> None:
    one, two = platforms
    two.bring_up(IMAGES)
    nodes = json.loads(two.walt("node", "show", "-o", "json", "all-nodes").stdout)
    assert two.local("down").status == 0
    assert (nodes, traces(two.instance)) == ([], [])
    assert one.walt("node", "show").stdout.count("keeper") == 1


def test_a_crash_of_the_supervisor_half_way_is_cleared_by_down(platforms: tuple[Platform, Platform]) -> None:
    platform, _ = platforms
    pid = int((platform.instance.runtime / "supervisord.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: platform.local("status").status == EXIT_DOWN, 10, "status says down")
    assert platform.local("down").status == 0
    assert traces(platform.instance) == []
    assert platform.local("down").status == 0, "a second down has nothing to do"


def test_a_failed_up_says_why_and_leaves_nothing(platforms: tuple[Platform, Platform]) -> None:
    platform, _ = platforms
    done = platform.local("up", "--image", "default=nothing")
    assert done.status != 0
    assert "'nothing' is not an image to build" in done.stderr
    assert "Traceback" not in done.stderr
    assert traces(platform.instance) == []


def test_clean_forgets(platforms: tuple[Platform, Platform]) -> None:
    platform, _ = platforms
    assert platform.local("clean").status == 0
    assert not platform.instance.state.exists()


@pytest.mark.parametrize("words", [("--instance", "Bad_Name"), ("--image", "default")])
def test_bad_words_are_refused_by_name(words: tuple[str, str]) -> None:
    argv = [sys.executable, "-m", "deploy.local", "up", *words]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=CHECKOUT, check=False)
    assert done.returncode == 2
    assert words[1] in done.stderr and "allowed" in done.stderr
