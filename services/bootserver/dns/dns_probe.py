"""Does a name server of walt-net answer? It is asked for the server's own name.

`python -m services.bootserver.dns.dns_probe PORT`: the health check of its container.
"""

from __future__ import annotations

import socket
import sys

import dns.exception
import dns.message
import dns.query
import dns.rcode

from services.bootserver.dns.zone import SERVER
from services.kit.environment import environment
from walt.contracts import walt_net_addresses

DNS_PORT = 53


def query_fault(address: str, name: str, port: int = DNS_PORT, timeout_s: float = 2.0) -> str:
    """'' when it answers with an address of that name, else why not."""
    query = dns.message.make_query(name, "A")
    try:
        # Connected, so that a port on which nobody listens is reported at once.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
            connection.setblocking(False)
            connection.connect((address, port))
            answer = dns.query.udp(query, address, timeout=timeout_s, port=port, sock=connection)
    except (OSError, dns.exception.DNSException) as error:
        return str(error) or type(error).__name__
    if answer.rcode() != dns.rcode.NOERROR or not answer.answer:
        return f"it does not know the server's own name ({dns.rcode.to_text(answer.rcode())})"
    return ""


def main() -> None:
    server = str(walt_net_addresses.server(environment().subnet))
    raise SystemExit(query_fault(server, SERVER, int(sys.argv[1])) or None)


if __name__ == "__main__":
    main()
