"""`python -m services.bootserver.ntp.ntp_server`: the time of this host on walt-net, by NTP, as a process of its own.

It tells the time and sets no clock. A server of Debian's would not do in local mode: its package takes the place of the
one that sets the clock of the host. The kernel notes when a request came in, so that a busy host makes an answer late,
which a client sees and leaves out, and not wrong.

Environment: WALT_SUBNET.
"""

from __future__ import annotations

import logging
import resource
import socket
import struct
import time
from collections.abc import Sequence
from typing import NoReturn

from services.bootserver.ntp import ntp_packet
from services.kit.environment import environment
from services.kit.log_lines import set_up_logging
from services.kit.unprivileged import NOBODY, give_up_rights
from walt.contracts import walt_net_addresses

NTP_PORT = 123
MAX_MESSAGE = 1024  # of the requests with extensions too
LIMITS = {resource.RLIMIT_AS: 2**29, resource.RLIMIT_NPROC: 0}

# asm-generic/socket.h, linux/in.h: the socket module has no names for them
_SO_TIMESTAMPNS = 35
_IP_FREEBIND = 15
_TIMESPEC = struct.Struct("@qq")

log = logging.getLogger(__name__)


def listen(address: str, port: int = NTP_PORT) -> socket.socket:
    """At an address that may not be there yet: netemu makes walt-net, perhaps later, and perhaps again."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    listener.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    listener.bind((address, port))
    return listener


def answer_one(listener: socket.socket) -> None:
    """Wait for a message, and answer it when it is a request."""
    message, ancillary, _, client = listener.recvmsg(MAX_MESSAGE, socket.CMSG_SPACE(_TIMESPEC.size))
    answer = ntp_packet.answer(message, _arrival_ns(ancillary))
    if answer is not None and client[1]:  # nobody hears at port 0
        sent = struct.pack("!Q", ntp_packet.timestamp(time.time_ns()))
        listener.sendto(answer + sent, client)


def _arrival_ns(ancillary: Sequence[tuple[int, int, bytes]]) -> int:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, rest = _TIMESPEC.unpack(data)
            return int(seconds) * 10**9 + int(rest)
    return time.time_ns()


def main() -> NoReturn:
    set_up_logging()
    listener = listen(str(walt_net_addresses.server(environment().subnet)))
    give_up_rights(NOBODY, LIMITS)
    while True:
        try:
            answer_one(listener)
        except OSError as error:  # the client, or walt-net, is gone
            log.debug("no answer: %s", error)


if __name__ == "__main__":
    main()
