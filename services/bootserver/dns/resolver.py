"""`python -m services.bootserver.dns.resolver`: the name server of nodes with netsetup=NAT, as a process of its own.

It knows the names of nodes as `dnsmasq.py` does, and asks others for all other names. A name that is looked up outside
is a message to the outside: so netemu leads to it what comes from nodes that may reach the outside, and nothing else
(services/netemu/filters/nat.py). Names of addresses that no node may reach are told to none.

Environment: WALT_DNS_UPSTREAM ("192.0.2.1,192.0.2.2": whom it asks; default none: other names are refused),
WALT_NAT_EXCEPT (networks that no node reaches), WALT_SUBNET, WALT_STATE_DIR.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path

from services.bootserver.dns import dnsmasq
from services.kit.environment import environment
from walt.contracts import walt_net_addresses
from walt.contracts.errors import InvalidRequest
from walt.contracts.walt_net_addresses import RESOLVER_PORT


def configuration(subnet: str, state_dir: Path, upstream: Sequence[str], unreached: Sequence[str]) -> str:
    """dnsmasq.conf. Pure."""
    return "\n".join(
        [
            f"port={RESOLVER_PORT}",
            *dnsmasq.names(str(walt_net_addresses.server(subnet)), state_dir),
            *(f"server={address}" for address in upstream),
            *(f"bogus-nxdomain={network}" for network in unreached),  # a name behind which one is
            *(f"rev-server={network}" for network in unreached),  # the name of one
            "",
        ]
    )


def parse_upstream(text: str) -> list[str]:
    """'192.0.2.1,192.0.2.2' -> ['192.0.2.1', '192.0.2.2']. Pure."""
    addresses = [item for item in text.split(",") if item]
    for address in addresses:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise InvalidRequest(
                f"WALT_DNS_UPSTREAM: '{address}' is not an address; allowed: addresses separated by commas"
            ) from None
    return addresses


def parse_networks(text: str) -> list[str]:
    """'198.18.0.0/15,10.0.0.1' -> ['198.18.0.0/15', '10.0.0.1/32']. Pure."""
    try:
        return [str(ipaddress.IPv4Network(item)) for item in text.split(",") if item]
    except ValueError as error:
        raise InvalidRequest(f"WALT_NAT_EXCEPT: {error}; allowed: IPv4 networks as 198.18.0.0/15") from None


def main() -> None:
    env = environment()
    dnsmasq.make_folders(env.state_dir)
    try:
        upstream = parse_upstream(env.variable("WALT_DNS_UPSTREAM", ""))
        unreached = parse_networks(env.variable("WALT_NAT_EXCEPT", ""))
    except InvalidRequest as error:
        raise SystemExit(str(error)) from None
    settings = env.state_dir / "dns" / "resolver.conf"
    dnsmasq.become(settings, configuration(env.subnet, env.state_dir, upstream, unreached))


if __name__ == "__main__":
    main()
