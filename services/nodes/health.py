"""What `diagnose` returns: the registry, the broker, and the checks of all other services."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import replace

from services.kit import tasks
from services.kit.bus.bus import Bus
from services.nodes.domain import history
from services.nodes.peers.agents import ANSWER_S
from services.nodes.storage.registry import RegistryStore
from walt.contracts import bootserver, console, netemu, serialization, vmrunner
from walt.contracts.checks import FAIL, OK, Check
from walt.contracts.errors import WaltError


def diagnose(
    store: RegistryStore, bus: Bus, hosts: Collection[str], unreachable_since: Mapping[str, float]
) -> list[Check]:
    """All services are asked at once; one that does not answer is a failed check of its own, and so is a host.
    unreachable_since: epoch seconds, by host."""
    silent = [_silent(host, unreachable_since[host]) for host in hosts if host in unreachable_since]
    agents = (vmrunner.service_on, netemu.service_on, console.service_on)
    asked = [("", bootserver.SERVICE)]
    asked += [(host, on(host)) for host in hosts if host not in unreachable_since for on in agents]
    found = tasks.map_concurrently(lambda one: _checks_of(bus, one[1]), asked)
    names = [host if len(hosts) > 1 else "" for host, _ in asked]
    return [
        check_database(store),
        check_registry(store),
        _check_broker(bus),
        *silent,
        *(_of_host(name, check) for name, checks in zip(names, found, strict=True) for check in checks),
    ]


def _of_host(name: str, check: Check) -> Check:
    return replace(check, subject=f"{name}: {check.subject}") if name else check


def _silent(host: str, since: float) -> Check:
    minutes = (time.time() - since) / 60
    return Check(
        subject=f"host {host}",
        status=FAIL,
        found=f"its agents have said nothing for {minutes:.1f} minutes",
        consequence="its nodes cannot be told anything; whether they run is not known",
        fix="look at the host, its agents and its way to the broker; it is in step again once they answer",
    )


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
