"""One instance of the platform on this host: where it lives and what its things are called. Pure, but for
WALT_CACHE_DIR.

state    /var/lib/walt/NAME    registry, disks, lines, accounts, logs; survives `down`
runtime  /run/walt/NAME        sockets, pid files, generated configuration; gone after `down`
cache    /var/cache/walt       images, shared by all instances; in a folder of its own those that its users saved.
                               WALT_CACHE_DIR is another one, on ext4 or xfs: the same for all commands of an instance
network  namespace walt-NAME, joined to the host by one veth pair with a /30; beside it walt-NAME-2 and so on, the
         further hosts of the instance, all joined by a bridge
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

DEFAULT_NAME = "local"
NAME_RULE = "a lower-case letter first, then lower-case letters and digits, at most 10 characters"
_NAME = re.compile(r"[a-z][a-z0-9]{0,9}", re.ASCII)  # "walt-" and 10 characters make an interface name

STATE_ROOT = Path("/var/lib/walt")
RUN_ROOT = Path("/run/walt")
CACHE_ROOT = Path(os.environ.get("WALT_CACHE_DIR") or "/var/cache/walt")
IMAGES = CACHE_ROOT / "images"
NETNS_ROOT = Path("/run/netns")

UPLINK_POOL = IPv4Network("198.18.0.0/15")  # RFC 2544: for tests of networks, routed nowhere
UPLINK_PREFIX = 30
UNDERLAY = IPv4Network("198.19.255.0/24")  # of it, between the hosts of each instance: each is a network of its own

MAX_HOSTS = 8
VM_UIDS_FIRST = 0x70000000  # up to 0x77FFFFFF: numbers that Debian and systemd give to nobody, nor does compose
VM_UIDS_EACH = 4096  # of one instance: the first half of its own host, the rest in equal parts of the others
VM_UIDS_OF_OTHERS = 256

_HOST_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True)
class Instance:
    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"'{self.name}' is not an instance name; allowed: {NAME_RULE}")

    @property
    def state(self) -> Path:
        return STATE_ROOT / self.name

    @property
    def runtime(self) -> Path:
        return RUN_ROOT / self.name

    @property
    def logs(self) -> Path:
        return self.state / "log"

    @property
    def private(self) -> tuple[Path, ...]:
        """Folders that other users of this host may not read: registry, disks, logs."""
        return (self.state / "nodes", self.state / "vmrunner", self.other_hosts, self.logs)

    @property
    def other_hosts(self) -> Path:
        """The state of the further hosts, a folder each."""
        return self.state / "hosts"

    @property
    def broker(self) -> Path:
        return self.state / "broker"

    @property
    def clients(self) -> Path:
        """A client.toml for each user."""
        return self.state / "clients"

    @property
    def public_methods(self) -> Path:
        """What users may call, a routing key a line."""
        return self.state / "public-methods"

    @property
    def user_images(self) -> Path:
        """The images that users have saved: beside the platform's, of which they are hard links for the most part."""
        return IMAGES / f"users-{self.name}"

    @property
    def supervisor_socket(self) -> Path:
        return self.runtime / "supervisor.sock"

    @property
    def supervisor_config(self) -> Path:
        return self.runtime / "supervisord.conf"

    @property
    def namespace(self) -> str:
        return f"walt-{self.name}"

    @property
    def namespace_file(self) -> Path:
        return NETNS_ROOT / self.namespace

    @property
    def host_link(self) -> str:
        """The host's end of the veth pair."""
        return f"walt-{self.name}"

    @property
    def enter(self) -> tuple[str, ...]:
        """argv prefix of a command that is to run in the network of the instance."""
        return ("nsenter", f"--net={self.namespace_file}", "--")


@dataclass(frozen=True)
class LocalHost:
    """One host of an instance: the first is the instance's own network, each further one a namespace beside it with the
    agents of a host, as a server of its own would have them. label: its name on the bus."""

    instance: Instance
    number: int
    label: str

    @property
    def is_first(self) -> bool:
        return self.number == 1

    @property
    def state(self) -> Path:
        return self.instance.state if self.is_first else self.instance.other_hosts / str(self.number)

    @property
    def runtime(self) -> Path:
        return self.instance.runtime if self.is_first else self.instance.runtime / "hosts" / str(self.number)

    @property
    def namespace(self) -> str:
        return self.instance.namespace if self.is_first else f"{self.instance.namespace}-{self.number}"

    @property
    def enter(self) -> tuple[str, ...]:
        """argv prefix of a program of this host, which its supervisor starts in the network of the instance."""
        return () if self.is_first else ("nsenter", f"--net={NETNS_ROOT / self.namespace}", "--")

    @property
    def underlay(self) -> IPv4Address:
        """Its address among the hosts."""
        return UNDERLAY[self.number]

    def program(self, service: str) -> str:
        """The supervisor's name of this service of this host: 'vmrunner', 'vmrunner-2'."""
        return service if self.is_first else f"{service}-{self.number}"


def local_hosts(instance: Instance, label: str, count: int) -> list[LocalHost]:
    """label: of the first."""
    others = [LocalHost(instance, number, f"{label}-{number}") for number in range(2, count + 1)]
    return [LocalHost(instance, 1, label), *others]


INNER_LINK = "uplink"  # the other end, in the namespace


@dataclass(frozen=True)
class Uplink:
    """The two addresses of the veth pair."""

    network: IPv4Network

    @property
    def host(self) -> IPv4Address:
        return self.network[1]

    @property
    def inside(self) -> IPv4Address:
        return self.network[2]

    def vm_uids(self, host_number: int) -> str:
        """'FIRST-LAST': users for the VMs of this host of the instance, and of no other that is up on this computer."""
        number = (int(self.network.network_address) - int(UPLINK_POOL.network_address)) // self.network.num_addresses
        first, count = VM_UIDS_FIRST + number * VM_UIDS_EACH, VM_UIDS_EACH // 2
        if host_number > 1:
            first, count = first + count + (host_number - 2) * VM_UIDS_OF_OTHERS, VM_UIDS_OF_OTHERS
        return f"{first}-{first + count - 1}"


def choose_uplink(name: str, taken: Iterable[IPv4Network]) -> Uplink:
    """The /30 of this instance: always the same one, unless it overlaps what the host uses already."""
    used = [UNDERLAY, *(network for network in taken if network.prefixlen > 0)]
    count = 2 ** (UPLINK_PREFIX - UPLINK_POOL.prefixlen)
    first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % count
    for step in range(count):
        base = int(UPLINK_POOL.network_address) + 4 * ((first + step) % count)
        candidate = IPv4Network((base, UPLINK_PREFIX))
        if not any(candidate.overlaps(network) for network in used):
            return Uplink(candidate)
    raise ValueError(f"{UPLINK_POOL} is in use on this host; allowed: a free /{UPLINK_PREFIX} in it")


def host_label(hostname: str) -> str:
    """'Lab1.example.org' -> 'lab1': the host's part in the names of its agents."""
    label = hostname.partition(".")[0].lower()
    return label if _HOST_LABEL.fullmatch(label) else "local"


def networks_of(addresses: Iterable[str]) -> list[IPv4Network]:
    """What `ip -json` calls 'default', '10.0.0.0/8' or '10.0.0.1', as networks; IPv6 is left out."""
    found = []
    for text in addresses:
        try:
            network = ipaddress.ip_network("0.0.0.0/0" if text == "default" else text, strict=False)
        except ValueError:
            continue
        if isinstance(network, IPv4Network):
            found.append(network)
    return found
