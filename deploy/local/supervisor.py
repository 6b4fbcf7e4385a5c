"""The supervisor of an instance: start it, ask it, change its programs, end it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from deploy.local.instance import Instance
from deploy.local.network import wait_until
from deploy.local.programs import SERVICES_NICE
from walt.contracts.errors import Failed

START_TIMEOUT_S = 10
END_TIMEOUT_S = 40

BROKER_PROGRAMS = {"rabbitmq", "epmd"}
STOPPED_STATES = ("STOPPED", "EXITED", "FATAL")


@dataclass(frozen=True)
class ProgramState:
    name: str
    state: str  # RUNNING, STARTING, BACKOFF, STOPPED, …
    pid: int
    description: str


def start(instance: Instance) -> None:
    """In the instance's network, a daemon of its own that outlives the launcher."""
    argv = [*instance.enter, sys.executable, "-m", "supervisor.supervisord", "-c", str(instance.supervisor_config)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"the supervisor did not start: {done.stderr.strip() or done.stdout.strip()}")
    if not wait_until(lambda: is_alive(instance), START_TIMEOUT_S):
        raise Failed(f"the supervisor does not answer on {instance.supervisor_socket} after {START_TIMEOUT_S} s")
    _put_before_vms(instance)


def _put_before_vms(instance: Instance) -> None:
    """Where the kernel shares the processor among sessions (sched_autogroup), `nice` counts within one only: each VM
    has its own, and all the services have this one."""
    with _remote(instance) as remote, contextlib.suppress(OSError):  # it does not, or we may not
        Path(f"/proc/{remote.getPID()}/autogroup").write_text(str(SERVICES_NICE))


def is_alive(instance: Instance) -> bool:
    try:
        with _remote(instance) as remote:
            return bool(remote.getPID())
    except Fault:  # it is shutting down
        return True
    except OSError:
        return False


def states(instance: Instance) -> list[ProgramState]:
    with _remote(instance) as remote:
        return [
            ProgramState(one["name"], one["statename"], one["pid"], one["description"])
            for one in remote.getAllProcessInfo()
        ]


def update(instance: Instance) -> list[str]:
    """Take the configuration as it is now on disk; the programs that it changed are restarted, and named."""
    with _remote(instance) as remote:
        [[added, changed, removed]] = remote.reloadConfig()
        for group in (*changed, *removed):
            remote.stopProcessGroup(group)
            remote.removeProcessGroup(group)
        for group in (*added, *changed):
            remote.addProcessGroup(group)
        for program in remote.getAllProcessInfo():
            if program["statename"] in STOPPED_STATES:
                with contextlib.suppress(Fault):  # already starting
                    remote.startProcess(program["name"], False)
    return sorted({*added, *changed, *removed})


def stop(instance: Instance, program: str) -> None:
    """End one program and leave it off, until `resume`."""
    with _remote(instance) as remote:
        remote.stopProcess(program)


def resume(instance: Instance, program: str) -> None:
    with _remote(instance) as remote:
        remote.startProcess(program)


def end(instance: Instance) -> None:
    """Stop the services together, as supervisord by itself would not, then the broker and the supervisor."""
    with contextlib.suppress(OSError, Fault), _remote(instance) as remote:  # Fault: it is shutting down already
        for program in set(_running(remote)) - BROKER_PROGRAMS:
            with contextlib.suppress(Fault):  # it has just ended by itself
                remote.stopProcess(program, False)
        wait_until(lambda: set(_running(remote)) <= BROKER_PROGRAMS, END_TIMEOUT_S)
        remote.shutdown()
    wait_until(lambda: not is_alive(instance), END_TIMEOUT_S)


def _running(remote: Any) -> list[str]:
    return [one["name"] for one in remote.getAllProcessInfo() if one["statename"] not in STOPPED_STATES]


@contextlib.contextmanager
def _remote(instance: Instance) -> Iterator[Any]:
    transport = SupervisorTransport(serverurl=f"unix://{instance.supervisor_socket}")
    with contextlib.closing(transport):
        yield ServerProxy("http://supervisor", transport=transport).supervisor
