"""What one user may do to the others: `python -m benchmarks.floods WAY`, as the user of WALT_CONFIG, until it is ended.

Used by benchmarks.fairness. The user owns NODES, which are on the network NETWORK.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from cli.sessions.remote_session import RemoteSession
from walt.client import Call, Client
from walt.contracts import console
from walt.contracts.errors import WaltError

NODES = ("bench-bob1", "bench-bob2")
NETWORK = "bench-bob"
AT_ONCE = 100  # calls that wait for their reply

# Programs in a guest, for python3. The interface of NETWORK is the last one.
_FRAMES = """
import os, random, socket
name = max(name for name in os.listdir("/sys/class/net") if name != "lo")
one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
one.bind((name, 0))
while True:
    source = b"\\2" + random.randbytes(5) if {random_source} else b"\\2\\0\\0\\0\\0\\1"
    try:
        one.send(b"\\xff" * 6 + source + b"\\x88\\xb5" + bytes(1400))
    except OSError:
        pass
"""
_REQUESTS = """
import http.client, random, re, threading
server = re.search(r"nameserver (\\S+)", open("/etc/resolv.conf").read())[1]
paths = ("/machine.ipxe?mac=02:%02x:%02x:%02x:%02x:%02x", "/boot/%02x%02x%02x%02x%02x/x")
def ask():
    while True:
        try:
            connection = http.client.HTTPConnection(server, timeout=5)
            connection.request("GET", random.choice(paths) % tuple(random.randbytes(5)))
            connection.getresponse().read()
            connection.close()
        except OSError:
            pass
for _ in range(8):
    threading.Thread(target=ask).start()
"""
_WRITES = """
import os
piece = os.urandom(1 << 20)
while True:
    with open("/persist/filling", "wb", buffering=0) as file:
        try:
            while True:
                file.write(piece)
        except OSError:
            os.fsync(file.fileno())
"""
IN_GUEST = {
    "frames": _FRAMES.replace("{random_source}", "False"),
    "MAC addresses": _FRAMES.replace("{random_source}", "True"),
    "HTTP requests": _REQUESTS,
    "disk": _WRITES,
}


def flood_broker(client: Client) -> None:
    """Requests, whose replies nobody reads."""
    client.open_mailbox()
    while True:
        client.start("nodes", "get_nodes", selection="all-nodes")
        client._calls.clear()


def flood_console(client: Client) -> None:
    """Of no session, where the input of a session of his goes."""
    session = RemoteSession(client, _host(client), "open_line", node=NODES[0])
    session.wait_until_open()
    session.session = "none"
    while True:
        session.send(console.DATA, b"x")


def call(client: Client) -> None:
    _keep_calling(client, lambda: ("nodes", "get_nodes", {"selection": "all-nodes"}))


def change_links(client: Client) -> None:
    delays = itertools.count(1)

    def change() -> tuple[str, str, dict[str, Any]]:
        options = [f"lat={next(delays) % 1000 + 1}us"]
        return "nodes", "link_nodes", {"selection": NODES[0], "network": NETWORK, "options": options}

    _keep_calling(client, change)


def start_jobs(client: Client) -> None:
    numbers = itertools.count()

    def save() -> tuple[str, str, dict[str, Any]]:
        return "bootserver", "save_image", {"node": NODES[0], "name": f"bench{next(numbers) % 10}", "force": True}

    _keep_calling(client, save)


def _keep_calling(client: Client, next_call: Callable[[], tuple[str, str, dict[str, Any]]]) -> None:
    waiting: list[Call] = []
    while True:
        while len(waiting) < AT_ONCE:
            service, method, arguments = next_call()
            waiting.append(client.start(service, method, **arguments))
        client.drain(1)
        waiting = [one for one in waiting if not one.done]


def _host(client: Client) -> str:
    return str(client.call("nodes", "get_nodes", selection=NODES[0])[0]["host"])


BY_CLIENT = {
    "broker messages": flood_broker,
    "console input": flood_console,
    "jobs": start_jobs,
    "link changes": change_links,
    "calls": call,
}


def _for_ever(way: Callable[[Client], None]) -> Iterator[None]:
    """Again whenever the platform stops it."""
    while True:
        with contextlib.suppress(WaltError, OSError), Client() as client:
            way(client)
        time.sleep(0.1)
        yield


def main() -> None:
    for _ in _for_ever(BY_CLIENT[sys.argv[1]]):
        print("stopped by the platform", flush=True)


if __name__ == "__main__":
    main()
