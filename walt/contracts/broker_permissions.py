"""What a user's broker account may do: exactly the public methods, its own replies, its own console input.

Pure; used by whoever makes accounts. The patterns were tried one by one against RabbitMQ 3.10: without the
topic *read* pattern a user could bind a queue to `#` and read everybody's calls.

Topic rights are asked for where a message is published, not where it goes on from there: an exchange of a user's own
can hand anything to RPC_EXCHANGE and INPUT_EXCHANGE. Internal entry points therefore also check the
caller's account (services/kit/bus/entrypoints.py), and the key of a user's console input is a secret of his.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from walt.contracts.console import INPUT_EXCHANGE

USER = "walt-user"  # Tag of every user's account.
ADMINISTRATOR = "walt-admin"  # Tag of administrators, who manage users; they carry USER as well.

RPC_EXCHANGE = "nameko-rpc"
INTERNAL_EXCHANGE = "walt-internal"  # of calls between services; users have no right to it
EXPIRES_AFTER = 0.95  # of the time for which its caller waits, a request that nobody has taken expires
MAX_REQUEST_BYTES = 2 * 2**20  # of a user's call; a piece of an image (PIECE_BYTES) in base64 is the largest
HOST_PATTERN = "[a-z0-9-]+"


@dataclass(frozen=True)
class TopicRight:
    exchange: str
    write: str
    read: str


@dataclass(frozen=True)
class Rights:
    configure: str
    write: str
    read: str
    topics: tuple[TopicRight, ...]


SERVICE_RIGHTS = Rights(configure=".*", write=".*", read=".*", topics=())
# For the account whose only task is to create other accounts.
NO_RIGHTS = Rights(configure="^$", write="^$", read="^$", topics=())


def user_rights(user: str, public: Iterable[str]) -> Rights:
    """`public`: routing keys as 'nodes.create_nodes' or, for a host agent, 'console@*.open_line'."""
    own = rf"user\.{re.escape(user)}\."
    methods = "|".join(re.escape(key).replace(r"@\*", f"@{HOST_PATTERN}") for key in sorted(public))
    return Rights(
        configure=f"^{own}.*",
        write=f"^({own}.*|{RPC_EXCHANGE}|{INPUT_EXCHANGE})$",
        read=f"^({own}.*|{RPC_EXCHANGE})$",
        topics=(
            TopicRight(RPC_EXCHANGE, write=f"^({methods})$", read=f"^{own}[^*#]*$"),
            TopicRight(INPUT_EXCHANGE, write=rf"^input\.{HOST_PATTERN}(\.[0-9a-f]{{32}})?$", read="^$"),
        ),
    )
