"""walt-net as bootserver presents it to the nodes. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

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

    def http_host(self, address: str) -> str:
        """HOST[:PORT] of the HTTP server in a URL, at this address or iPXE variable."""
        return address if self.http_port == 80 else f"{address}:{self.http_port}"


def make_site(subnet: str, http_port: int) -> Site:
    """The server has the first address of walt-net."""
    network = ipaddress.ip_network(subnet)
    return Site(str(network[1]), str(network.netmask), http_port)
