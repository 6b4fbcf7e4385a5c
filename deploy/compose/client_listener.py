"""How the CLI reaches the broker from outside: the listener, in clear or TLS, and the client.toml that goes with it.
Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from walt.contracts.errors import InvalidRequest

PORT = 5671  # inside its container; which port of the host leads there is WALT_AMQP_BIND's
DEFAULT_BIND = "127.0.0.1:5672"
SWITCH = ("off", "on")
FOLDER = "/etc/walt"  # of the broker's files, in its container

_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DNS_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class ClientListener:
    """WALT_AMQP_BIND (address and port of the host), WALT_PUBLIC_NAME (how users call that host), WALT_AMQP_TLS (on,
    off)."""

    address: str
    port: int
    name: str
    tls: bool

    @property
    def is_open(self) -> bool:
        """Whether passwords and consoles cross a network in clear."""
        return not self.tls and not ipaddress.ip_address(self.address).is_loopback


def load(environment: Mapping[str, str]) -> ClientListener:
    bind = environment.get("WALT_AMQP_BIND") or DEFAULT_BIND
    address, _, port = bind.rpartition(":")
    tls = environment.get("WALT_AMQP_TLS") or SWITCH[0]
    if tls not in SWITCH:
        raise InvalidRequest(f"WALT_AMQP_TLS: '{tls}' is not a choice; allowed: {' or '.join(SWITCH)}")
    try:
        ip = ipaddress.ip_address(address.strip("[]"))
        number = int(port)
    except ValueError:
        raise InvalidRequest(
            f"WALT_AMQP_BIND: '{bind}' is not an address and a port; allowed: {DEFAULT_BIND}"
        ) from None
    default_name = "127.0.0.1" if ip.is_unspecified else str(ip)
    name = environment.get("WALT_PUBLIC_NAME") or default_name
    if not (_DNS_NAME.fullmatch(name) or alternative_name(name).startswith("IP:")):
        raise InvalidRequest(
            f"WALT_PUBLIC_NAME: '{name}' is neither a DNS name nor an address; allowed: lab.example.org or 192.0.2.1"
        )
    return ClientListener(str(ip), number, name, tls == SWITCH[1])


def listener(reach: ClientListener) -> list[str]:
    """Lines of rabbitmq.conf."""
    if not reach.tls:
        return [f"listeners.tcp.users = 0.0.0.0:{PORT}"]
    return [
        f"listeners.ssl.users = 0.0.0.0:{PORT}",
        f"ssl_options.cacertfile = {FOLDER}/ca.pem",
        f"ssl_options.certfile = {FOLDER}/cert.pem",
        f"ssl_options.keyfile = {FOLDER}/key.pem",
        "ssl_options.versions.1 = tlsv1.3",
        "ssl_options.versions.2 = tlsv1.2",
        "ssl_options.verify = verify_none",  # users have passwords, not certificates
        "ssl_options.fail_if_no_peer_cert = false",
    ]


def alternative_name(name: str) -> str:
    """For the certificate: 'DNS:lab.example.org' or 'IP:192.0.2.1'."""
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


def client_toml(reach: ClientListener, user: str, password: str, ca: str) -> str:
    """ca: PEM, of no use without TLS."""
    scheme = "amqps" if reach.tls else "amqp"
    host = f"[{reach.name}]" if ":" in reach.name else reach.name
    text = f'amqp_uri = "{scheme}://{user}:{password}@{host}:{reach.port}//"\n'
    return text + (f'ca = """\n{ca.strip()}\n"""\n' if reach.tls else "")
