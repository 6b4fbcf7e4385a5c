"""Pure: one direction of a link as a queue in virtual time. Nanoseconds and bytes in, departure out.

A frame waits until the transmitter is free, occupies it for its bits at the rate, then travels for the latency. The
order is kept whatever changes while frames are in flight; only a frame that overtakes (option reorder) skips the
latency. Where the direction follows a trace, that says when its bytes may pass, and adds to the latency.
"""

from __future__ import annotations

from services.netemu.cable.impairments import Impairment, ImpairmentSequence, impairments_of, random_options
from services.netemu.cable.trace import Playback
from walt.contracts.links import MAX_DELAYED_BYTES, MAX_DELAYED_FRAMES, Direction

S = 1_000_000_000
LATE_NS = 1_000_000
QUEUE_NS = 100_000_000
QUEUE_BYTES = 65536 + 1514  # at least one frame as large as segmentation offload makes them, and another
MAX_DELAY_NS = 120 * S

_ETHERNET = 14
_UDP_HEADER = 8
_NEEDS_CSUM = 1  # linux/virtio_net.h
_TCP = (1, 4)  # gso_type, of IPv4 and IPv6
_ECN = 0x80


class Wire:
    """The state and the counters of one direction. pace: its playback, where the trace has rates."""

    __slots__ = (
        "direction", "is_plain", "latency_ns", "rate_bps", "queue_bytes", "limit_frames", "impairments", "free_ns",
        "last_ns", "frames", "bytes", "dropped", "late", "in_flight_bytes", "in_flight_frames", "delay", "playback",
        "pace", "is_delayed",
    )  # fmt: skip

    def __init__(self, direction: Direction, playback: Playback | None = None) -> None:
        self.free_ns = self.last_ns = 0
        self.frames = self.bytes = self.dropped = self.late = self.in_flight_bytes = self.in_flight_frames = 0
        self.impairments = _impairments(direction, playback)
        self._set_fixed(direction, playback)

    def set(self, direction: Direction, playback: Playback | None = None) -> None:
        """For the frames that arrive from now on; those in flight keep their departure. playback: the present one where
        the trace is the same, so that it goes on."""
        if random_options(direction) != random_options(self.direction) or playback is not self.playback:
            self.impairments = _impairments(direction, playback)
        self._set_fixed(direction, playback)

    def _set_fixed(self, direction: Direction, playback: Playback | None) -> None:
        self.direction = direction
        self.playback = playback
        self.pace = playback if playback and playback.data.paces else None
        self.is_plain = direction == Direction()
        self.latency_ns = direction.latency_us * 1000
        self.is_delayed = bool(self.latency_ns or (playback and playback.data.delays))
        self.rate_bps = self.pace.data.mean_bps if self.pace else direction.rate_bps
        self.limit_frames = direction.limit_frames
        waiting_ns = max(self.latency_ns, QUEUE_NS)
        self.queue_bytes = max(QUEUE_BYTES, self.rate_bps * waiting_ns // (8 * S))
        self.delay = RunningMean(MAX_DELAY_NS)  # of the last frames

    def admit(self, now_ns: int, size: int, jitter_ns: int = 0, overtakes: bool = False) -> int | None:
        """When the frame that arrives now departs; None when there is no room for it."""
        if self.in_flight_frames >= (self.limit_frames or MAX_DELAYED_FRAMES):
            self.dropped += 1
            return None
        free_ns = now_ns
        if self.pace:
            return self._admit_paced(self.pace, now_ns, size, jitter_ns, overtakes)
        if self.rate_bps:
            start_ns = max(now_ns, self.free_ns)
            waiting_bytes = (start_ns - now_ns) * self.rate_bps // (8 * S)
            if waiting_bytes and not self.limit_frames and waiting_bytes + size > self.queue_bytes:
                self.dropped += 1
                return None
            free_ns = start_ns + size * 8 * S // self.rate_bps
        if self.in_flight_bytes + size > MAX_DELAYED_BYTES:
            self.dropped += 1
            return None
        self.free_ns = free_ns
        return self._departure(free_ns, size, jitter_ns, overtakes)

    def _admit_paced(self, pace: Playback, now_ns: int, size: int, jitter_ns: int, overtakes: bool) -> int | None:
        waiting_bytes = 0 if self.limit_frames else pace.waiting_bytes(now_ns)
        free_ns = pace.leaving_ns(now_ns, size)
        if (
            free_ns is None
            or (waiting_bytes and waiting_bytes + size > self.queue_bytes)
            or self.in_flight_bytes + size > MAX_DELAYED_BYTES
        ):
            self.dropped += 1
            return None
        pace.take(now_ns, size)
        return self._departure(max(free_ns, now_ns), size, jitter_ns, overtakes)

    def _departure(self, free_ns: int, size: int, jitter_ns: int, overtakes: bool) -> int:
        """Of a frame that leaves the transmitter then."""
        self.in_flight_bytes += size
        self.in_flight_frames += 1
        if overtakes:
            return free_ns
        latency_ns = self.latency_ns + (self.playback.latency_ns(free_ns) if self.playback else 0)
        self.last_ns = max(self.last_ns, free_ns, free_ns + latency_ns + jitter_ns)
        return self.last_ns

    def impair(self, now_ns: int) -> Impairment | None:
        """What happens to the frame that arrives now; None where nothing is left to chance."""
        if self.impairments is None:
            return None
        if self.playback and self.playback.data.loses:
            self.impairments.lose(self.playback.loss_ppm(now_ns))
        return self.impairments.next()

    def drop(self) -> None:
        """The frame that arrives now is lost, by request or for lack of memory."""
        self.dropped += 1

    def depart(self, now_ns: int, due_ns: int, size: int, taken: bool) -> None:
        """The frame that was due has been written to the other tap (taken), or could not be."""
        self.in_flight_bytes -= size
        self.in_flight_frames -= 1
        if now_ns - due_ns > LATE_NS:
            self.late += 1
        if taken:
            self.frames += 1
            self.bytes += size
        else:
            self.dropped += 1


def _impairments(direction: Direction, playback: Playback | None) -> ImpairmentSequence | None:
    loses = playback is not None and playback.data.loses
    return ImpairmentSequence(direction) if loses else impairments_of(direction)


def wire_size(frame: bytes, header: int) -> int:
    """Bytes on the wire. A large frame of segmentation offload stands for several, each with headers of its own.

    frame begins with a virtio_net_hdr of `header` bytes: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset.
    """
    size = len(frame) - header
    segment = int.from_bytes(frame[4:6], "little")
    if not frame[1] or not segment:
        return size
    headers = _headers_size(frame, header)
    segments = max(1, -(-(size - headers) // segment))
    return size + (segments - 1) * headers


def _headers_size(frame: bytes, header: int) -> int:
    """Of a large frame: all before its payload, which begins after the checksummed header of TCP or UDP.

    hdr_len is only a hint: as much of the frame as its sender, or the kernel, happened to have in one piece.
    """
    if not frame[0] & _NEEDS_CSUM:
        return int.from_bytes(frame[2:4], "little") or _ETHERNET
    checksummed = int.from_bytes(frame[6:8], "little")
    if frame[1] & ~_ECN not in _TCP:
        return checksummed + _UDP_HEADER
    words = int.from_bytes(frame[header + checksummed + 12 : header + checksummed + 13]) >> 4
    return checksummed + 4 * words


class RunningMean:
    """The mean of about the last SAMPLES durations, exact for the first ones. A longer one counts as `most_ns`."""

    SAMPLES = 64

    def __init__(self, most_ns: int) -> None:
        self.mean_ns = 0.0
        self.seen = 0
        self._most_ns = most_ns

    def observe(self, duration_ns: int) -> None:
        self.seen = min(self.seen + 1, self.SAMPLES)
        self.mean_ns += (min(max(duration_ns, 0), self._most_ns) - self.mean_ns) / self.seen
