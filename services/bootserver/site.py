"""walt-net as bootserver presents it to the nodes, and whom it trusts there."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from walt.contracts.errors import Denied

DOMAIN = "walt"  # of the names on walt-net


class VmrunnerAddresses:
    """Where the HTTP requests of the vmrunners come from: they load boot files in the place of their nodes."""

    def __init__(self, server: str) -> None:
        self._of_server = frozenset({server, "127.0.0.1"})
        self._of_hosts = frozenset[str]()

    def replace(self, of_hosts: Iterable[str]) -> None:
        """of_hosts: on walt-net, of all."""
        self._of_hosts = frozenset(of_hosts)

    def __contains__(self, address: str) -> bool:
        return address in self._of_server or address in self._of_hosts


@dataclass(frozen=True)
class Site:
    """server: bootserver's address on walt-net; netmask: of walt-net; http_port: of bootserver's HTTP server."""

    server: str
    netmask: str
    http_port: int
    vmrunner_addresses: VmrunnerAddresses

    def node_address(self, requester: str, named: str) -> str:
        """Of the node that a request is for: its own, or the one that vmrunner names in its place. Denied when anyone
        else names one, or vmrunner does not."""
        if requester in self.vmrunner_addresses:
            if not named:
                raise Denied(f"{requester} names no node that it boots; allowed: with ?node_ip=ADDRESS")
            return named
        if named not in ("", requester):
            raise Denied(f"what {named} boots is not served to {requester}")
        return requester

    def http_host(self, address: str) -> str:
        """HOST[:PORT] of the HTTP server in a URL, at this address or iPXE variable."""
        return address if self.http_port == 80 else f"{address}:{self.http_port}"


def make_site(subnet: str, http_port: int) -> Site:
    """The server has the first address of walt-net."""
    network = ipaddress.ip_network(subnet)
    return Site(str(network[1]), str(network.netmask), http_port, VmrunnerAddresses(str(network[1])))
