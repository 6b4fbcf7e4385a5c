"""Access of an instance's nodes to what this host reaches (`up --internet`): a default route in its namespace and one
table of packet filter rules on the host, both for its own veth pair only. The rules go with the instance.

Which nodes may use it is netemu's to say (netsetup=NAT). The host itself, and its other instances, stay out of reach.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable
from pathlib import Path

from deploy.local.instance import UPLINK_POOL, Instance, Uplink
from services.kit.subprocesses import run
from walt.contracts.errors import Conflict, Failed

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


def table(instance: Instance) -> str:
    return f"walt_{instance.name}"


def ruleset(instance: Instance, uplink: Uplink) -> str:
    """What the host does for and against this instance; replaced as a whole. Pure."""
    name, link = table(instance), instance.host_link
    return f"""
table ip {name} {{}}
delete table ip {name}
table ip {name} {{
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname "{link}" ct state new drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname "{link}" ip daddr {UPLINK_POOL} drop
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    ip saddr {uplink.network} oifname != "{link}" masquerade
  }}
}}
"""


def check() -> None:
    """Refused on a host that forwards nothing: to change that is its operator's, since it concerns all its networks."""
    if FORWARDING.read_text().strip() != "1":
        raise Conflict(
            "--internet: this host does not forward packets (net.ipv4.ip_forward is 0); "
            "allowed: on a host that does (sysctl -w net.ipv4.ip_forward=1)"
        )


def allow(instance: Instance, uplink: Uplink) -> None:
    """In force when this returns; doing it again changes nothing."""
    check()
    run(["nft", "-f", "-"], stdin=ruleset(instance, uplink))
    run(["ip", "-netns", instance.namespace, "route", "replace", "default", "via", str(uplink.host)])


def withdraw(instance: Instance) -> None:
    """The host is as it was before; also when nothing, or only half of it, was done."""
    with contextlib.suppress(Failed):  # no such table
        run(["nft", "delete", "table", "ip", table(instance)])
    with contextlib.suppress(Failed):  # no such route, or the namespace is gone
        run(["ip", "-netns", instance.namespace, "route", "delete", "default"])


def resolvers() -> list[str]:
    """The name servers that this host asks, without those that only it can ask."""
    for path in RESOLVERS:
        if path.exists() and (found := usable_resolvers(path.read_text().splitlines())):
            return found
    return []


def usable_resolvers(lines: Iterable[str]) -> list[str]:
    """Of resolv.conf. Pure."""
    fields = [line.split() for line in lines]
    addresses = [field[1] for field in fields if len(field) > 1 and field[0] == "nameserver"]
    return [address for address in addresses if _is_reachable(address)]


def _is_reachable(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:  # fe80::1%eth0
        return False
    return address.version == 4 and not address.is_loopback
