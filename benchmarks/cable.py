"""What a frame costs in the cable: `python -m benchmarks.cable [FOLDER]`, as root, in namespaces of its own, no VM.

The reference is a bare loop in C on the same taps, which reads and writes and does nothing else (it needs cc). FOLDER:
with vde_switch and wirefilter of vde2, a link in user space in C; they are measured too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from services.kit.tun import make_persistent, open_tap
from services.netemu.cable import engine
from services.netemu.cable.control import PROGRAM, CableClient
from services.netemu.ports.port import helpers
from tests.links.rig import CLONE_NEWNET, ETHERTYPE, be_punctual
from walt.contracts.links import Direction, LinkModel

PORT = "vn1e2"
ENDS = (helpers(PORT)["node_end"], helpers(PORT)["bridge_end"])
SENDER_CPU, LINK_CPU = 0, 1
ALONE_PER_S = 20_000  # each frame wakes the link
SECONDS = 3.0
MOST_LATE_NS = 1_000_000
ALL_OFFLOADS = 15
LINKS = {
    "delay only": Direction(10_000),
    "chance and rate": Direction(10_000, 10**9, 1_000, 10_000, seed=7),
}
FULL = {"100 Mb/s x 300 ms": Direction(300_000, 10**8), "1 Gb/s x 100 ms": Direction(100_000, 10**9)}
INTERPRETED = (
    "import sys; from pathlib import Path; from services.netemu.cable.process import serve; "
    "serve(Path(sys.argv[1]), False)"
)
Measured = tuple[float, float]  # frames/s, us of CPU time for each


def run(line: str) -> None:
    subprocess.run(line.split(), check=True)


def make_taps(names: tuple[str, ...] = ENDS) -> None:
    for name in names:
        descriptor = open_tap(name)
        make_persistent(descriptor)
        os.close(descriptor)
        run(f"ip link set {name} txqueuelen 10000 up")


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[int]:
    os.sched_setaffinity(process.pid, {LINK_CPU})
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def bare(program: Path, offloads: int = 0) -> Iterator[int]:
    process = subprocess.Popen([program, *ENDS, str(offloads)], stdout=subprocess.PIPE)
    with ended(process) as pid:
        assert process.stdout and process.stdout.readline()
        yield pid


@contextlib.contextmanager
def cable(direction: Direction, is_compiled: bool = True) -> Iterator[int]:
    with tempfile.TemporaryDirectory() as folder:
        program = ["-m", PROGRAM] if is_compiled else ["-c", INTERPRETED]
        with ended(subprocess.Popen([sys.executable, *program, folder])) as pid:
            client = CableClient(Path(folder), supervised=True)
            client.start()
            client.set_port(PORT, LinkModel(direction, direction), "alice")
            yield pid
            state = client.show()
            print(f"    dropped by the cable: {state.up[PORT].dropped if state else '?'}, late: ", end="")
            print(state.up[PORT].late if state else "?")


@contextlib.contextmanager
def wirefilter(folder: Path, options: list[str]) -> Iterator[int]:
    """Two switches with a tap each, and the filter between them."""
    with tempfile.TemporaryDirectory() as work, contextlib.ExitStack() as stack:
        for end in ENDS:
            argv = [folder / "vde_switch", "-tap", end, "-s", f"{work}/{end}"]
            stack.enter_context(ended(subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)))
            while not Path(work, end, "ctl").exists():
                time.sleep(0.1)
        argv = [folder / "wirefilter", "-v", ":".join(f"{work}/{end}" for end in ENDS), *options]
        pid = stack.enter_context(ended(subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)))
        time.sleep(1)
        yield pid


def cpu_ns(pid: int) -> int:
    return sum(int((one / "schedstat").read_text().split()[0]) for one in Path(f"/proc/{pid}/task").iterdir())


def received(name: str) -> int:
    """Frames that were written to this tap."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.split()[2]) for line in lines if line.split()[0] == f"{name}:")


def send(per_s: float, seconds: float, size: int = 100) -> int:
    """Into the first tap; per_s 0: as fast as it goes. How many it took."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as one:
        one.bind((ENDS[0], ETHERTYPE))
        frame = b"\xff" * 6 + b"\2\0\0\0\0\1" + ETHERTYPE.to_bytes(2) + bytes(size - 14)
        began, sent, gap = time.monotonic_ns(), 0, 1e9 / per_s if per_s else 0
        while (now := time.monotonic_ns()) < began + seconds * 1e9:
            late_ns = now - began - sent * gap
            if per_s and late_ns > MOST_LATE_NS:  # what it missed while it had no processor is not sent in a burst
                began += int(late_ns)
            if late_ns >= 0:
                with contextlib.suppress(OSError):
                    one.send(frame)
                    sent += 1
    return sent


def measure(pid: int, per_s: float) -> Measured:
    send(ALONE_PER_S, 0.3)
    time.sleep(0.3)
    cpu, frames = cpu_ns(pid), received(ENDS[1])
    send(per_s, SECONDS)
    time.sleep(0.3)
    frames = received(ENDS[1]) - frames
    return frames / SECONDS, (cpu_ns(pid) - cpu) / 1000 / max(1, frames)


def tell(what: str, pid: int, reference: list[Measured]) -> list[Measured]:
    found = [measure(pid, 0), measure(pid, ALONE_PER_S)]
    (kept, busy_us), (_, alone_us) = found
    ratios = [one / other for (_, one), (_, other) in zip(found, reference or found, strict=True)]
    print(f"{what:<34} {kept / 1000:>8.0f} {busy_us:>9.2f} {ratios[0]:>7.2f} {alone_us:>10.2f} {ratios[1]:>7.2f}")
    return found


def print_costs(program: Path, folder: Path | None) -> None:
    head = ("link, frames of 100 bytes", "kframes/s", "us/frame", "x bare", "alone: us", "x bare")
    print("{:<34} {:>8} {:>9} {:>7} {:>10} {:>7}".format(*head))
    with bare(program) as pid:
        reference = tell("bare loop in C", pid, [])
    for name, direction in LINKS.items():
        for is_compiled in (True, False) if engine.compiled_folder().is_dir() else (False,):
            with cable(direction, is_compiled) as pid:
                tell(f"cable, {name}{'' if is_compiled else ', interpreted'}", pid, reference)
    if folder:
        for name, options in (
            ("delay only", ["-d", "10"]),
            ("loss and rate", ["-d", "10", "-l", "1", "-b", "125000000"]),
        ):
            with wirefilter(folder, options) as pid:
                tell(f"wirefilter alone, {name}", pid, reference)


def print_hidden_loss() -> None:
    """Nothing may be lost of what arrives a little below the rate."""
    print("\nat 98 % of the rate, frames of 1500 bytes")
    for name, direction in FULL.items():
        with cable(direction):
            before = received(ENDS[1])
            sent = send(0.98 * direction.rate_bps / 8 / 1500, SECONDS, 1500)
            time.sleep(direction.latency_us / 1e6 + 0.5)
            print(f"{name:<20} sent {sent}, lost {sent - received(ENDS[1]) + before}")


SINK = """
import socket, time
with socket.create_server(("10.9.0.2", 5001)) as server:
    print("ready", flush=True)
    client, _ = server.accept()
    total = 0
    while got := len(client.recv(1 << 20)):
        began = began if total else time.monotonic()
        total += got
    print(total * 8 / (time.monotonic() - began) / 1e9, flush=True)
"""


def tcp_gbps() -> float:
    """From this namespace to another, into which the second tap moves; it comes back when that one ends."""
    with subprocess.Popen(["unshare", "-n", "sleep", "600"]) as holder:
        try:
            time.sleep(0.3)
            run(f"ip link set {ENDS[1]} netns {holder.pid}")
            inside = f"nsenter -t {holder.pid} -n"
            run(f"{inside} ip addr add 10.9.0.2/24 dev {ENDS[1]}")
            run(f"{inside} ip link set {ENDS[1]} up")
            run(f"ip addr replace 10.9.0.1/24 dev {ENDS[0]}")
            time.sleep(0.3)
            argv = [*inside.split(), sys.executable, "-c", SINK]
            with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as sink:
                assert sink.stdout and sink.stdout.readline()
                with socket.create_connection(("10.9.0.2", 5001)) as sender:
                    end = time.monotonic() + SECONDS
                    while time.monotonic() < end:
                        sender.sendall(bytes(1 << 18))
                return float(sink.stdout.readline())
        finally:
            holder.terminate()


def print_tcp(program: Path) -> None:
    print("\nTCP with segmentation offload, Gb/s (the sender and the receiver take their part of the two processors)")
    links = {"bare loop in C": lambda: bare(program, ALL_OFFLOADS)}
    for name, direction in {"1 ms": Direction(1_000), "1 ms, loss 0.01 %": Direction(1_000, loss_ppm=100)}.items():
        links[f"cable, {name}"] = lambda direction=direction: cable(direction)
        links[f"cable, {name}, interpreted"] = lambda direction=direction: cable(direction, False)
    for name, start in links.items():
        make_taps()
        with start():
            print(f"{name:<34} {tcp_gbps():.2f}", flush=True)
        time.sleep(0.5)


def main() -> None:
    if ctypes.CDLL(None).unshare(CLONE_NEWNET) != 0:
        raise SystemExit("a network namespace is wanted: run as root")
    run("ip link set lo up")
    for name in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
    be_punctual()
    os.sched_setaffinity(0, {SENDER_CPU})
    make_taps()
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "bare_loop")
        run(f"cc -O2 -o {program} {Path(__file__).with_name('bare_loop.c')}")
        print_costs(program, Path(sys.argv[1]) if len(sys.argv) > 1 else None)
        print_hidden_loss()
        print_tcp(program)


if __name__ == "__main__":
    main()
