"""What the loop of the cable works on: ports, their two directions, and the accounts of their owners.

Each port has two taps: the kernel redirects what the node sends to `node_end`, the bridge sends what the node
receives to `bridge_end`. Frames keep their virtio headers, so large frames of segmentation offload need not be
segmented. Where frames are impaired or counted one by one, the kernel segments them and completes their checksums
before we read them: otherwise 45 of them would be lost together, and the receiver would not notice that a frame is
corrupt.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import time
from collections import deque
from collections.abc import Iterator

from services.kit.tun import open_tap, set_offload
from services.netemu.cable.fairness import OwnerShare
from services.netemu.cable.impairments import is_per_frame
from services.netemu.cable.model import Wire
from services.netemu.cable.trace import TraceFiles, playback_of
from walt.contracts.links import Direction, LinkModel

TAP_IS_GONE = (errno.EBADFD, errno.EIO)  # the interface was removed
FRAME_BYTES = 170  # that a frame takes in memory beside its bytes: the objects of Python around them
Frame = tuple[int, int, int, bytes]  # due_ns, arrival_ns, size, with its virtio header
Head = tuple[int, int, "Lane"]  # due_ns, id, lane: the next frame of a lane


class OwnerLanes:
    """The lanes of one owner. ready: an epoll of the taps that he may send from; due: the lanes with a frame that is
    due; waste: frames of ports that are gone, to be freed little by little; ports: how many he has."""

    __slots__ = ("share", "ready", "due", "waste", "ports", "is_held")

    def __init__(self, share: OwnerShare) -> None:
        self.share = share
        self.ready = select.epoll()
        self.due: list[Head] = []
        self.waste: deque[deque[Frame]] = deque()
        self.ports = 0
        self.is_held = False  # he has used up his share of the time, for now


class Lane:
    """One direction of one port: a tap to read, a tap to write, and the frames in flight, by their departure.

    overtaking: the lane of the frames that skip the delay (each lane keeps its order, so these need one of their own).
    """

    __slots__ = ("account", "source", "target", "wire", "in_flight", "overtaking")

    def __init__(
        self, account: OwnerLanes, source: int, target: int, wire: Wire, overtaking: Lane | None = None
    ) -> None:
        self.account = account
        self.source = source
        self.target = target
        self.wire = wire
        self.in_flight: deque[Frame] = deque()
        self.overtaking = overtaking or self


class CablePort:
    """traces: that links may follow."""

    def __init__(
        self, account: OwnerLanes, node_end: str, bridge_end: str, link: LinkModel, traces: TraceFiles | None = None
    ) -> None:
        self._traces = traces
        up, down = self._wire(link.up), self._wire(link.down)
        with contextlib.ExitStack() as undo:
            self.node_end = open_tap(node_end)
            undo.callback(os.close, self.node_end)
            self.bridge_end = open_tap(bridge_end)
            undo.callback(os.close, self.bridge_end)
            self._set_offload(link)
            undo.pop_all()
        self.account = account
        self.link = link
        self.up = _lane(account, self.node_end, self.bridge_end, up)
        self.down = _lane(account, self.bridge_end, self.node_end, down)

    @property
    def lanes(self) -> Iterator[Lane]:
        for lane in (self.up, self.down):
            yield lane
            yield lane.overtaking

    def set(self, link: LinkModel) -> None:
        """A trace that is followed already goes on."""
        playbacks = [
            now.playback if (now := lane.wire).direction.trace == direction.trace else self._wire(direction).playback
            for lane, direction in ((self.up, link.up), (self.down, link.down))
        ]
        self._set_offload(link)
        self.link = link
        self.up.wire.set(link.up, playbacks[0])
        self.down.wire.set(link.down, playbacks[1])

    def _wire(self, direction: Direction) -> Wire:
        return Wire(direction, playback_of(self._traces, direction.trace, time.monotonic_ns()))

    def close(self) -> None:
        os.close(self.node_end)
        os.close(self.bridge_end)

    def _set_offload(self, link: LinkModel) -> None:
        set_offload(self.node_end, not is_per_frame(link.up))
        set_offload(self.bridge_end, not is_per_frame(link.down))


def _lane(account: OwnerLanes, source: int, target: int, wire: Wire) -> Lane:
    return Lane(account, source, target, wire, overtaking=Lane(account, source, target, wire))


def memory_of(frame: bytes) -> int:
    return len(frame) + FRAME_BYTES
