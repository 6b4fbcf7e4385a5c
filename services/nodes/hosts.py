"""The host agents as nodes sees them over the bus: what they run, and whether they answer."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterable

import eventlet
from kombu import Connection

from services.contracts import bootserver, console, netemu, vmrunner, wire
from services.contracts.bootserver import DEFAULT_IMAGE, ImageView
from services.contracts.errors import Unreachable, WaltError
from services.contracts.health import FAIL, OK, Check
from services.contracts.netemu import PortReport
from services.contracts.vmrunner import Capacity, VmReport
from services.kit import peers
from services.kit.environment import environment

log = logging.getLogger(__name__)

ANSWER_S = 5.0


CAPACITY_KEPT_S = 60.0
CAPACITY_RETRY_S = 10.0

_capacities: dict[str, tuple[float, Capacity | None]] = {}  # host: (when it was asked last, what it said last)


def find_image(image: str, user: str) -> tuple[str, list[WaltError]]:
    """The full name of what this user means, and what bootserver says against it. The platform's default image needs no
    bootserver to be named."""
    try:
        view = peers.call(bootserver.SERVICE, "check_image", timeout_s=ANSWER_S, name=image, user=user)
    except WaltError as error:
        is_certain = isinstance(error, Unreachable) and image == DEFAULT_IMAGE
        return image, [] if is_certain else [error]
    return wire.load(ImageView, view).name, []


def capacities(hosts: Iterable[str]) -> dict[str, Capacity]:
    """What each host has, as it said last; without those that have never said."""
    told = {host: _capacity(host) for host in hosts}
    return {host: capacity for host, capacity in told.items() if capacity is not None}


def _capacity(host: str) -> Capacity | None:
    asked, last = _capacities.get(host, (-math.inf, None))
    if time.monotonic() < asked + (CAPACITY_RETRY_S if last is None else CAPACITY_KEPT_S):
        return last
    try:
        last = wire.load(Capacity, peers.call(vmrunner.service_on(host), "capacity", timeout_s=ANSWER_S))
    except WaltError as error:
        log.info("host %s does not say what it has: %s", host, error)
    _capacities[host] = (time.monotonic(), last)
    return last


def list_vms(host: str) -> list[VmReport] | None:
    """None while the host's vmrunner is away."""
    try:
        return wire.load_all(VmReport, peers.call(vmrunner.service_on(host), "list_vms", timeout_s=ANSWER_S))
    except WaltError as error:
        log.info("no reports from host %s yet: %s", host, error)
        return None


def list_machines() -> list[VmReport] | None:
    """Of the physical nodes; None while bootserver is away."""
    try:
        return wire.load_all(VmReport, peers.call(bootserver.SERVICE, "list_machines", timeout_s=ANSWER_S))
    except WaltError as error:
        log.info("no reports of physical nodes yet: %s", error)
        return None


def list_ports(hosts: Iterable[str]) -> dict[str, list[PortReport] | None]:
    """All hosts asked at once; None of one whose netemu does not answer."""
    asked = list(dict.fromkeys(hosts))
    return dict(zip(asked, eventlet.GreenPool().imap(_ports_on, asked), strict=True))


def _ports_on(host: str) -> list[PortReport] | None:
    try:
        return wire.load_all(PortReport, peers.call(netemu.service_on(host), "list_ports", timeout_s=ANSWER_S))
    except WaltError as error:
        log.warning("no ports of host %s: %s", host, error)
        return None


def diagnose(hosts: Iterable[str]) -> list[Check]:
    """All checks of all services, asked at once; a service that does not answer is one of its own."""
    agents = (vmrunner.service_on, netemu.service_on, console.service_on)
    services = [bootserver.SERVICE, *(service_on(host) for host in hosts for service_on in agents)]
    found = eventlet.GreenPool().imap(_checks_of, services)
    return [_check_broker(), *(check for checks in found for check in checks)]


def _check_broker() -> Check:
    """That this call came says that it works; how fast, and which it is."""
    start = time.monotonic()
    with contextlib.closing(Connection(environment().amqp_uri, connect_timeout=ANSWER_S)) as connection:
        connection.connect()
        about = connection.connection.server_properties
        took_ms = 1000 * (time.monotonic() - start)
        return Check("broker", OK, f"{about['product']} {about['version']}, a connection in {took_ms:.0f} ms")


def _checks_of(service: str) -> list[Check]:
    try:
        return wire.load_all(Check, peers.call(service, "diagnose", timeout_s=ANSWER_S))
    except WaltError as error:
        consequence = "images and network boot" if service == bootserver.SERVICE else "the nodes of this host"
        return [
            Check(
                subject=service,
                status=FAIL,
                found=str(error),
                consequence=f"{consequence} do not follow what is asked until it is back",
                mend=f"see the log of {service}; its supervisor restarts it when it ends",
            )
        ]
