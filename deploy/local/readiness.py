"""Waits until every service answers a call over AMQP."""

from __future__ import annotations

import contextlib
import logging
import time

from deploy.broker.accounts import services_client
from deploy.local import programs, supervisor
from deploy.local.instance import Instance, LocalHost
from deploy.services import SERVICES
from walt.client import Client
from walt.contracts import nodes
from walt.contracts.agent_names import AGENTS, service_name
from walt.contracts.errors import Failed, WaltError

LIMIT_S = 120
CALL_LIMIT_S = 10.0
LOG_LINES = 12

# A call that shows that a service works: of nodes not `diagnose`, which is its users' and calls all the others.
PROBES = {service: "diagnose" for service in SERVICES} | {nodes.SERVICE: "get_specs"}


def wait(setup: programs.Setup, progress: programs.Progress) -> None:
    """Return once all have answered; Failed with the end of the log of the one that has not."""
    logging.getLogger("amqp").setLevel(logging.ERROR)  # it warns of each service that is not there yet
    end = time.monotonic() + LIMIT_S
    with contextlib.closing(services_client(setup.services_uri)) as client:
        for host, service in _services(setup):
            name = service_name(service, host.label)
            while not _answers(client, name, PROBES[service]):
                if time.monotonic() > end:
                    raise Failed(_explain(setup.instance, host.program(service)))
                time.sleep(0.3)
            progress(f"{name} answers")


def _services(setup: programs.Setup) -> list[tuple[LocalHost, str]]:
    return [(host, name) for host in setup.hosts for name in (SERVICES if host.is_first else AGENTS)]


def _answers(client: Client, name: str, probe: str) -> bool:
    try:
        client.call(name, probe, timeout_s=CALL_LIMIT_S)
    except WaltError:
        return False
    return True


def _explain(instance: Instance, service: str) -> str:
    """Whose log to show: a program that does not run is the cause, a service that does not answer only the symptom."""
    broken = [one.name for one in supervisor.states(instance) if one.state != "RUNNING"]
    culprit = broken[0] if broken else service
    path = instance.logs / f"{culprit}.log"
    lines = path.read_text(errors="replace").splitlines()[-LOG_LINES:] if path.exists() else []
    output = "\n".join(f"  {line}" for line in lines)
    return f"{service} does not answer after {LIMIT_S} s; the last lines of {path}:\n{output}"
