"""walt-net as bootserver presents it to the nodes. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from walt.contracts.errors import Denied

DOMAIN = "walt"  # of the names on walt-net


@dataclass(frozen=True)
class Site:
    """server: bootserver's address on walt-net; netmask: of walt-net; http_port: of bootserver's HTTP server."""

    server: str
    netmask: str
    http_port: int

    @property
    def vmrunner_addresses(self) -> tuple[str, str]:
        """Where vmrunner's HTTP requests come from: it loads boot files in the place of its nodes."""
        return self.server, "127.0.0.1"

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
    return Site(str(network[1]), str(network.netmask), http_port)
