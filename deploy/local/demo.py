"""`python -m deploy.local.demo INSTANCE`: the blog post's experiment, typed as a person would, and what it measured."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from deploy.local import accounts
from deploy.local.instance import Instance

WALT = Path(sys.executable).with_name("walt")
REQUESTED_MS = 20.0  # 10 ms on each end
NETWORKS = "networks=walt-net,home-net[lat=10ms]"
ADDRESSES = {"vnode1": "192.168.55.2", "vnode2": "192.168.55.3"}
NODES = ",".join(ADDRESSES)
ROUND_TRIP = re.compile(r"(?:rtt|round-trip) min/avg/max(?:/mdev)? = [\d.]+/([\d.]+)/")
NEXT = """\
What to type next (walt is .venv/bin/walt):
  walt node console vnode1    its serial console; ctrl-a d leaves
  walt node shell vnode1      a shell in it
  walt node config vnode1 'networks=walt-net,home-net[lat=30ms]'
                              takes effect at once
  make down                   stop everything; make up finds the nodes again"""


def main(instance: Instance) -> None:
    if not accounts.is_installed(instance):  # `walt` is configured for another instance that is up
        os.environ["WALT_CONFIG"] = str(instance.clients / f"{accounts.person(os.environ)}.toml")
    existing, hosts = existing_nodes(), hosts_of_platform()
    for number, node in enumerate(ADDRESSES):
        if node not in existing:
            walt("node", "create", node, *(("--host", hosts[number % len(hosts)]) if len(hosts) > 1 else ()))
    for node in ADDRESSES:
        walt("node", "config", node, NETWORKS)
    walt("node", "reboot", NODES)
    walt("node", "wait", NODES)
    for node, address in ADDRESSES.items():
        walt("node", "run", node, "--", "ip", "addr", "add", f"{address}/24", "dev", "ens3")
    print("(the first ping also asks for the address of vnode1's interface; both nodes are still busy starting)")
    walt("node", "run", "vnode2", "--", "ping", "-c", "5", ADDRESSES["vnode1"])
    printed = walt("node", "run", "vnode2", "--", "ping", "-c", "20", "-i", "0.3", ADDRESSES["vnode1"])
    print(f"\n{verdict(printed)}\n\n{NEXT}")


def hosts_of_platform() -> list[str]:
    return sorted(_names("host", "list"))


def existing_nodes() -> set[str]:
    """The experiment's nodes that an earlier run has left; they are configured and rebooted all the same."""
    found = _names("node", "show", "all-nodes") & ADDRESSES.keys()
    if found:
        print(f"(there already, from an earlier run: {', '.join(sorted(found))})")
    return found


def _names(*arguments: str) -> set[str]:
    done = subprocess.run([WALT, *arguments, "-o", "json"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr.strip())
    return {row["name"] for row in json.loads(done.stdout)}


def walt(*arguments: str) -> str:
    """Print the command as a person would type it, run it, show its output as it comes, and return it."""
    print(f"$ walt {' '.join(map(typed, arguments))}", flush=True)
    lines = []
    # On a terminal `walt` shows progress on stderr; elsewhere its messages are to come in their order.
    messages = None if sys.stderr.isatty() else subprocess.STDOUT
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [WALT, *arguments], stdin=subprocess.DEVNULL, stdout=pipe, stderr=messages, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode != 0:
        sys.exit(f"demo: the command above ended with status {process.returncode}")
    return "".join(lines)


def typed(argument: str) -> str:
    """Quoted only where an ordinary shell would not take the argument as it is."""
    return argument if re.fullmatch(r"[\w@%+=:,./\[\]-]+", argument, re.ASCII) else shlex.quote(argument)


def verdict(printed: str) -> str:
    """The closing line: the mean round trip that ping printed, against what was requested."""
    match = ROUND_TRIP.search(printed)
    if match is None:
        sys.exit("demo: ping printed no round-trip times")
    measured_ms = float(match[1])
    error = 100 * (measured_ms - REQUESTED_MS) / REQUESTED_MS
    return f"round trip: asked {REQUESTED_MS:.1f} ms, measured {measured_ms:.2f} ms (error {error:+.1f} %)"


if __name__ == "__main__":
    main(Instance(sys.argv[1]))
