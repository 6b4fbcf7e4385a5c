"""`walt network capture NODE NETWORK --with OTHER`: both ends of a link in one file."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence

from walt.client import Client
from walt.contracts import console
from walt.contracts.errors import NotFound, Unreachable, WaltError
from walt.contracts.nodes import NodeView, PortView
from walt.replies import read

from ..ui.messages import print_message
from .capture import POLL_S, Sink, end_signals, reader_is_gone
from .capture_pair import CapturePair
from .remote_session import RemoteSession, SessionLost, SessionMessage, wait_for_messages
from .terminal import write_all


def capture_both(client: Client, nodes: Sequence[NodeView], network: str, expression: str, sink: Sink) -> int:
    """Until ctrl-c, the end of who reads the frames, or that of one of the two captures."""
    names = [node.name for node in nodes]
    pair = CapturePair(names, _macs(client, names, network))
    remotes = [
        RemoteSession(
            client, node.host, "open_capture", node=node.name, network=network, expression=expression, count=0
        )
        for node in nodes
    ]
    try:
        for remote in remotes:
            remote.wait_until_open()
        with sink() as descriptor, end_signals() as asked_to_end:
            print_message(f"capturing {' and '.join(names)} on {network}; ctrl-c ends it")
            return BothEnds(client, names, remotes, pair, descriptor, asked_to_end).run()
    finally:
        for remote in remotes:
            with contextlib.suppress(WaltError):
                remote.close()


def _macs(client: Client, names: Sequence[str], network: str) -> list[str]:
    ports = read(list[PortView], client.call("nodes", "get_ports", selection=",".join(names)))
    macs = {port.node: port.mac for port in ports if port.network == network and port.mac}
    outside = [f"node '{name}' has no network '{network}'" for name in names if name not in macs]
    if outside:
        raise NotFound(*outside)
    return [macs[name] for name in names]


class BothEnds:
    """Two captures that are open, in the order of the names."""

    def __init__(
        self,
        client: Client,
        names: Sequence[str],
        remotes: Sequence[RemoteSession],
        pair: CapturePair,
        descriptor: int,
        asked_to_end: Callable[[], bool],
    ) -> None:
        self._client = client
        self._names = names
        self._remotes = remotes
        self._pair = pair
        self._descriptor = descriptor
        self._asked_to_end = asked_to_end
        self._is_ending = False
        self._statuses: dict[int, int] = {}  # of the ends whose capture has ended

    def run(self) -> int:
        """0 also when who reads the frames has gone."""
        try:
            while len(self._statuses) < len(self._remotes) and not reader_is_gone(self._descriptor):
                self._step()
            self._write(self._pair.finish())
        except BrokenPipeError:
            return 0
        except (NotFound, Unreachable) as why:
            raise SessionLost(f"the capture of {' and '.join(self._names)} is lost: {why}") from why
        return max(self._statuses.values(), default=0)

    def _step(self) -> None:
        if not self._is_ending and (self._asked_to_end() or self._statuses):
            self._is_ending = True
            for end in self._open_ends():
                self._remotes[end].send(console.END_OF_INPUT)
        for end in self._open_ends():
            self._remotes[end].keep(time.monotonic())
            while end not in self._statuses and (message := self._remotes[end].receive_one()):
                self._handle(end, message)
        if self._open_ends():
            wait_for_messages(self._client, POLL_S)

    def _open_ends(self) -> list[int]:
        return [end for end in range(len(self._remotes)) if end not in self._statuses]

    def _handle(self, end: int, message: SessionMessage) -> None:
        if message.kind == console.DATA:
            self._write(self._pair.add(end, message.body))
        elif message.kind == console.NOTICE:
            print_message(f"{self._names[end]}: {message.text}")
        elif message.kind == console.EXIT:
            self._statuses[end] = message.status

    def _write(self, data: bytes) -> None:
        write_all(self._descriptor, data, self._keep_while_blocked)

    def _keep_while_blocked(self) -> None:
        for end in self._open_ends():
            self._remotes[end].keep_while_blocked()
