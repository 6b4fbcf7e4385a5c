"""Does the time server of walt-net answer?

`python -m services.bootserver.ntp.ntp_probe`: the health check of its container.
"""

from __future__ import annotations

import secrets
import socket

from services.bootserver.ntp import ntp_packet
from services.bootserver.ntp.ntp_server import NTP_PORT
from services.kit.environment import environment
from walt.contracts import walt_net_addresses


def query_fault(address: str, port: int = NTP_PORT, timeout_s: float = 2.0) -> str:
    """'' when it answers with a time, else why not."""
    origin = secrets.randbits(64)
    try:
        # Connected, so that a port on which nobody listens is reported at once.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect((address, port))
            connection.send(ntp_packet.request(origin))
            found = ntp_packet.parse_answer(connection.recv(2**10))
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__
    return "" if found.origin == origin else "it answers another request than this one"


def main() -> None:
    raise SystemExit(query_fault(str(walt_net_addresses.server(environment().subnet))) or None)


if __name__ == "__main__":
    main()
