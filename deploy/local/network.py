"""The network namespace of an instance, and the processes in it. Of the host it touches one veth pair."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from deploy.local.instance import (
    INNER_LINK,
    NETNS_ROOT,
    STATE_ROOT,
    UNDERLAY,
    Instance,
    LocalHost,
    Uplink,
    choose_uplink,
    networks_of,
)
from services.kit.subprocesses import run
from walt.contracts.errors import Failed

UNDERLAY_LINK = "underlay"
UNDERLAY_MTU = 9000  # so that frames of a node need not be cut in pieces


def make(instance: Instance) -> Uplink:
    """The namespace and its veth pair, new; on failure nothing is left of them."""
    with contextlib.ExitStack() as undo, _lock():
        uplink = choose_uplink(instance.name, networks_of(_addresses_in_use()))
        undo.callback(remove, instance)
        run(["ip", "netns", "add", instance.namespace])
        inner = ["name", INNER_LINK, "netns", instance.namespace]
        run(["ip", "link", "add", "name", instance.host_link, "type", "veth", "peer", *inner])
        run(["ip", "addr", "add", f"{uplink.host}/{uplink.network.prefixlen}", "dev", instance.host_link])
        run(["ip", "link", "set", instance.host_link, "up"])
        inside = ["ip", "-netns", instance.namespace]
        run([*inside, "link", "set", "lo", "up"])
        run([*inside, "addr", "add", f"{uplink.inside}/{uplink.network.prefixlen}", "dev", INNER_LINK])
        run([*inside, "link", "set", INNER_LINK, "up"])
        # A new namespace may inherit the host's value; nodes must not be routed to the host.
        run([*instance.enter, "sysctl", "-qw", "net.ipv4.ip_forward=0"])
        undo.pop_all()
    return uplink


def add_host(host: LocalHost, uplink: Uplink) -> None:
    """A further host of an instance that is up, joined to the others; one that is there is kept."""
    inside, outside = ["ip", "-netns", host.namespace], ["ip", "-netns", host.instance.namespace]
    port = f"host{host.number}"
    with contextlib.ExitStack() as undo, _lock():
        _make_underlay(outside)
        if _is_namespace(NETNS_ROOT / host.namespace):
            return
        undo.callback(run, ["ip", "netns", "delete", host.namespace])
        run(["ip", "netns", "add", host.namespace])
        run([*outside, "link", "add", port, "type", "veth", "peer", "name", UNDERLAY_LINK, "netns", host.namespace])
        run([*outside, "link", "set", port, "mtu", str(UNDERLAY_MTU), "master", UNDERLAY_LINK, "up"])
        run([*inside, "link", "set", "lo", "up"])
        run([*inside, "addr", "add", f"{host.underlay}/{UNDERLAY.prefixlen}", "dev", UNDERLAY_LINK])
        run([*inside, "link", "set", UNDERLAY_LINK, "mtu", str(UNDERLAY_MTU), "up"])
        run([*inside, "route", "add", str(uplink.inside), "via", str(UNDERLAY[1])])  # the broker
        run([*host.enter, "sysctl", "-qw", "net.ipv4.ip_forward=0"])
        undo.pop_all()


def _make_underlay(in_first: Sequence[str]) -> None:
    """The wire between the hosts: a bridge in the network of the first, which is one of them."""
    with contextlib.suppress(Failed):  # it is there
        run([*in_first, "link", "add", UNDERLAY_LINK, "type", "bridge"])
        run([*in_first, "addr", "add", f"{UNDERLAY[1]}/{UNDERLAY.prefixlen}", "dev", UNDERLAY_LINK])
    run([*in_first, "link", "set", UNDERLAY_LINK, "up"])


def find(instance: Instance) -> Uplink | None:
    """The addresses of an instance whose namespace exists."""
    if not exists(instance):
        return None
    argv = ["ip", "-json", "-4", "addr", "show", "dev", instance.host_link]
    with contextlib.suppress(Failed):
        for link in json.loads(run(argv)):
            networks = networks_of(f"{one['local']}/{one['prefixlen']}" for one in link.get("addr_info", ()))
            if networks:
                return Uplink(networks[0])
    return None


def exists(instance: Instance) -> bool:
    """Whether the namespace is there; a plain file left by a crash of the host is none."""
    return _is_namespace(instance.namespace_file)


def _is_namespace(path: Path) -> bool:
    return os.path.ismount(path)


def namespaces(instance: Instance) -> list[Path]:
    """Those of all its hosts, its own first, whatever a crash has left of them."""
    others = sorted(NETNS_ROOT.glob(f"{instance.namespace}-*"))
    return [path for path in (instance.namespace_file, *others) if path.exists()]


def remove(instance: Instance) -> None:
    """Whatever is left of the namespace and the veth pair; also when half of it is gone."""
    with _lock():
        with contextlib.suppress(Failed):
            run(["ip", "link", "delete", instance.host_link])
        for path in reversed(namespaces(instance)):
            run(["ip", "netns", "delete", path.name])
        _forget_empty_root()


def processes(instance: Instance) -> list[int]:
    """The processes in the namespaces of all its hosts."""
    wanted = {_identity(path) for path in namespaces(instance) if _is_namespace(path)}
    found = []
    for folder in Path("/proc").glob("[0-9]*") if wanted else ():
        with contextlib.suppress(OSError):
            if _identity(folder / "ns/net") in wanted and int(folder.name) != os.getpid():
                found.append(int(folder.name))
    return found


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def program_of(pid: int) -> str:
    """The file name of the program that a process runs; '' when it has ended."""
    with contextlib.suppress(OSError):
        return Path(os.readlink(f"/proc/{pid}/exe")).name
    return ""


def end_processes(instance: Instance, patience_s: float = 8) -> None:
    """SIGTERM to all of them, SIGKILL to those that stay."""
    _signal(processes(instance), signal.SIGTERM)
    if wait_until(lambda: not processes(instance), patience_s):
        return
    _signal(processes(instance), signal.SIGKILL)
    if not wait_until(lambda: not processes(instance), patience_s):
        raise Failed(f"processes {processes(instance)} of instance {instance.name} do not end")


def unmount_below(*folders: Path) -> None:
    """Every mount below the folders, the deepest first."""
    points = [Path(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted(points, key=lambda point: len(point.parts), reverse=True):
        if any(point.is_relative_to(folder) for folder in folders):
            run(["umount", "--lazy", str(point)])


def wait_until(condition: Callable[[], bool], limit_s: float, pause_s: float = 0.1) -> bool:
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause_s)
    return True


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _addresses_in_use() -> list[str]:
    routes = json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"]))
    return [route["dst"] for route in routes]


def _forget_empty_root() -> None:
    """`ip netns` makes a mount of its folder at its first use; the last one out takes it away."""
    if NETNS_ROOT.is_dir() and not any(NETNS_ROOT.iterdir()):
        subprocess.run(["umount", str(NETNS_ROOT)], capture_output=True, check=False)
        with contextlib.suppress(OSError):
            NETNS_ROOT.rmdir()


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """One launcher at a time chooses addresses, whatever the instance."""
    STATE_ROOT.mkdir(parents=True, exist_ok=True)
    with (STATE_ROOT / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
