"""What `diagnose` returns: the registry, the broker, and the checks of all other services."""

from __future__ import annotations

import time
from collections.abc import Iterable

from services.kit import tasks
from services.kit.bus.bus import Bus
from services.nodes.domain import history
from services.nodes.peers.agents import ANSWER_S
from services.nodes.storage.registry import RegistryStore
from walt.contracts import bootserver, console, netemu, serialization, vmrunner
from walt.contracts.checks import FAIL, OK, Check
from walt.contracts.errors import WaltError


def diagnose(store: RegistryStore, bus: Bus, hosts: Iterable[str]) -> list[Check]:
    """All services are asked at once; one that does not answer is a failed check of its own."""
    agents = (vmrunner.service_on, netemu.service_on, console.service_on)
    services = [bootserver.SERVICE, *(service_on(host) for host in hosts for service_on in agents)]
    found = tasks.map_concurrently(lambda service: _checks_of(bus, service), services)
    return [
        check_database(store),
        check_registry(store),
        _check_broker(bus),
        *(check for checks in found for check in checks),
    ]


def check_database(store: RegistryStore) -> Check:
    subject = "database"
    try:
        with store.transaction() as registry:
            present = len(registry.names())
    except WaltError as error:
        consequence = "no command on nodes is carried out; the nodes themselves run on"
        return Check(subject, FAIL, str(error), consequence, "check the database (WALT_DATABASE_URL), or its disk")
    return Check(subject, OK, f"{store.kind}, {present} nodes")


def check_registry(store: RegistryStore) -> Check:
    subject = "registry"
    try:
        with store.transaction() as registry:
            fault = history.undecided(registry.history.disputes())
    except WaltError as error:
        return Check(subject, FAIL, str(error))
    if not fault:
        return Check(subject, OK, "all agents obey this registry")
    consequence = "no command on nodes is carried out; the nodes themselves run on"
    return Check(subject, FAIL, fault, consequence, history.HOW_TO_DECIDE)


def _check_broker(bus: Bus) -> Check:
    """The broker delivered this request, so it works; its version, and how long a new connection takes."""
    start = time.monotonic()
    about = bus.ping()
    took_ms = 1000 * (time.monotonic() - start)
    return Check("broker", OK, f"{about['product']} {about['version']}, a connection in {took_ms:.0f} ms")


def _checks_of(bus: Bus, service: str) -> list[Check]:
    try:
        return serialization.load_all(Check, bus.call(service, "diagnose", timeout_s=ANSWER_S))
    except WaltError as error:
        stopped = "images and network boot" if service == bootserver.SERVICE else "the nodes of this host"
        return [
            Check(
                subject=service,
                status=FAIL,
                found=str(error),
                consequence=f"{stopped} do not follow new requests until it is back",
                fix=f"read the log of {service}; its supervisor restarts it when it ends",
            )
        ]
