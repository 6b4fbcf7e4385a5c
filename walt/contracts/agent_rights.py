"""The broker accounts of the agents of a further host, one for each host: what such an account may do, and what a
receiver believes of it. Pure.

The broker refuses what an agent has no right to, but for one thing: by the default exchange, which it needs for replies
and for the output of consoles, an agent can send to any queue whose name it knows. Receivers therefore look at the
account as well, for which the broker vouches (services/kit/bus/entrypoints.py): a call must be one for agents, and an
event must speak of the host of its account.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from walt.contracts import bootserver, netemu, nodes, vmrunner
from walt.contracts.agent_names import AGENTS, check_host
from walt.contracts.broker_permissions import INTERNAL_EXCHANGE, RPC_EXCHANGE, Rights, TopicRight
from walt.contracts.console import INPUT_EXCHANGE
from walt.contracts.errors import Denied
from walt.contracts.hosts import AGENT_PRESENT

SERVICES_ACCOUNT = "walt-services"  # of the central services, and of the agents of the server's host
AGENTS_TAG = "walt-agents"  # of each account of agents
_PREFIX = "walt-host-"  # of their names; no user's name begins with walt-

CALLS_OF_AGENTS = (
    "nodes.get_specs",
    "nodes.get_fabric",
    "nodes.get_trace",
    "nodes.authorize",
    "nodes.check_history",
    "bootserver.publish_boot",
    "bootserver.open_access",
    "bootserver.drop_persist_folder",
)
CALLS_OF_PEERS = ("list_moving", "read_moving")  # of the vmrunner of any host, whose node moves to the caller's
HEARD = (nodes.SERVICE, bootserver.SERVICE)  # whose events agents hear
ANNOUNCED = {  # what agents announce, by service
    vmrunner.SERVICE: (vmrunner.VM_CHANGED, vmrunner.VM_REMOVED, AGENT_PRESENT),
    netemu.SERVICE: (AGENT_PRESENT,),
}
_NOTHING = "^$"
_WORD = "[a-z_]+"
_HOST = "[a-z0-9-]+"
_ID = "[0-9a-f-]{32,36}"


def account_of_host(host: str) -> str:
    """'lab2' -> 'walt-host-lab2'. InvalidRequest."""
    return _PREFIX + check_host(host)


def host_of(account: str) -> str:
    """'walt-host-lab2' -> 'lab2'; '' of any other account."""
    return account.removeprefix(_PREFIX) if account.startswith(_PREFIX) else ""


def is_services(account: str, own: str) -> bool:
    """Whether this account may do everything that services do. own: that of the receiver, who trusts himself."""
    return account in (own, SERVICES_ACCOUNT)


def may_announce(account: str, own: str, service: str, host: object) -> bool:
    """host: of which the event of this service speaks."""
    return is_services(account, own) or (service in ANNOUNCED and host_of(account) != "" and host == host_of(account))


def may_be_answered(account: str, own: str, reply_to: str) -> bool:
    """Whether the queue is one of this account's own; of services it may be any. account: '' of a message that names
    none."""
    if is_services(account, own):
        return True
    if host := host_of(account):
        return any(reply_to.startswith(reply_prefix(f"{agent}@{host}")) for agent in AGENTS)
    return reply_to.startswith(f"user.{account}." if account else "user.")


def check_asks_for(caller: str, host: str) -> str:
    """The host, if an agent may ask for what is of it. caller: the further host of the agent; "": another service."""
    if caller and host != caller:
        raise Denied(f"this is for the agents of host '{host}'; allowed to those of '{caller}': what is of their own")
    return host


def check_is_agent(caller: str, agent: str) -> None:
    """agent: 'netemu@lab2', in whose name something is said; Denied unless it is one of the caller's host. caller: as
    of `check_asks_for`."""
    service, _, host = agent.partition("@")
    check_asks_for(caller, host)
    if caller and service not in AGENTS:
        raise Denied(f"'{agent}' is no agent of a host; allowed: {', '.join(AGENTS)}")


def reply_prefix(service: str) -> str:
    """Of the names of the queues in which this service gets its replies. service: 'nodes', 'netemu@lab1'."""
    return f"rpc.reply-{service}-"


def agent_rights(host: str) -> Rights:
    """Exactly the agents of this host: their queues, calls and events."""
    agents = f"({'|'.join(AGENTS)})@{re.escape(check_host(host))}"
    replies = rf"rpc\.reply-{agents}-{_ID}"
    events = rf"evt-{_WORD}-{_WORD}--{agents}\.{_WORD}"
    queues = rf"(rpc|internal)-{agents}|{events}|{replies}|name\.{agents}|input-{agents}-{_ID}"
    heard = "|".join(rf"{service}\.events" for service in HEARD)
    told = "|".join(rf"{service}\.events" for service in ANNOUNCED)
    return Rights(
        configure=f"^({queues})$",
        write=rf"^({queues}|amq\.default|{INTERNAL_EXCHANGE}|{told})$",
        read=f"^({queues}|{RPC_EXCHANGE}|{INTERNAL_EXCHANGE}|{INPUT_EXCHANGE}|{heard})$",
        topics=tuple(sorted(_topics(host, agents, replies), key=lambda right: right.exchange)),
    )


def _topics(host: str, agents: str, replies: str) -> Iterator[TopicRight]:
    """agents, replies: patterns of the names of services and queues."""
    calls = "|".join(map(re.escape, CALLS_OF_AGENTS))
    peers = rf"{vmrunner.SERVICE}@{_HOST}\.({'|'.join(CALLS_OF_PEERS)})"
    yield TopicRight(RPC_EXCHANGE, write=_NOTHING, read=rf"^({agents}\.\*|{replies})$")
    yield TopicRight(INTERNAL_EXCHANGE, write=rf"^({agents}\.{_WORD}|{calls}|{peers})$", read=rf"^{agents}\.\*$")
    yield TopicRight(INPUT_EXCHANGE, write=_NOTHING, read=rf"^input\.{re.escape(host)}\.[0-9a-f]{{32}}$")
    for service in HEARD:
        yield TopicRight(f"{service}.events", write=_NOTHING, read=f"^{_WORD}$")
    for service, names in ANNOUNCED.items():
        yield TopicRight(f"{service}.events", write=f"^({'|'.join(names)})$", read=_NOTHING)
