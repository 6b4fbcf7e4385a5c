"""Whether the platform answers: every service is asked something, over AMQP."""

from __future__ import annotations

import logging
import os
import time
import warnings
from typing import Any

from deploy.local import programs, supervisor
from deploy.local.instance import Instance
from services.contracts import nodes
from services.contracts.errors import Failed, WaltError

LIMIT_S = 120
CALL_LIMIT_S = 10.0
LOG_LINES = 12

# What tells that a service works: for nodes not `diagnose`, which is its users' and asks all the others.
PROBES = {service: "diagnose" for service in programs.SERVICES} | {nodes.SERVICE: "wanted_everywhere"}


def wait(setup: programs.Setup, say: programs.Say) -> None:
    """Return once all five have answered; Failed with the last words of the one that has not."""
    logging.getLogger("amqp").setLevel(logging.ERROR)  # it warns of each service that is not there yet
    os.environ["WALT_AMQP_URI"] = setup.services_uri
    end = time.monotonic() + LIMIT_S
    for service in programs.SERVICES:
        name = programs.service_name(service, setup.host)
        while not _answers(name, PROBES[service]):
            if time.monotonic() > end:
                raise Failed(_explain(setup.instance, service))
            time.sleep(0.3)
        say(f"{name} answers")


def call(service: str, method: str, /, **arguments: Any) -> Any:
    """The service's answer, asked with the services' account (WALT_AMQP_URI)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from services.kit import peers  # nameko: half a second that `down` and `status` need not wait for
    return peers.call(service, method, timeout_s=CALL_LIMIT_S, **arguments)


def _answers(name: str, probe: str) -> bool:
    try:
        call(name, probe)
    except WaltError:
        return False
    return True


def _explain(instance: Instance, service: str) -> str:
    """Whose log to show: a program that does not run is the cause, the service that is silent only the symptom."""
    broken = [one.name for one in supervisor.states(instance) if one.state != "RUNNING"]
    culprit = broken[0] if broken else service
    path = instance.logs / f"{culprit}.log"
    lines = path.read_text(errors="replace").splitlines()[-LOG_LINES:] if path.exists() else []
    said = "\n".join(f"  {line}" for line in lines)
    return f"{service} does not answer after {LIMIT_S} s; the last lines of {path}:\n{said}"
