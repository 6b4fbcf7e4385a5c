"""A machine's own ROM asks what to boot: it is found, or registered, and gets the script of its node."""

from __future__ import annotations

import logging

from services.bootserver import bootplan, dns
from services.bootserver.bootplan import KERNEL_FILE, Site
from services.bootserver.boots import Boots
from services.bootserver.machines import Machines
from services.bootserver.pages import Pages
from services.contracts import nodes, wire
from services.contracts.bootserver import BootRequest
from services.contracts.errors import WaltError
from services.contracts.nodes import NodeWanted
from services.kit import peers

log = logging.getLogger(__name__)


class NetBoot:
    def __init__(self, site: Site, boots: Boots, pages: Pages, machines: Machines) -> None:
        self._site = site
        self._boots = boots
        self._pages = pages
        self._machines = machines

    def script(self, mac: str, asked_from: str) -> str:
        """Always one: a machine that cannot boot now is told to ask again, so that it is not left in its firmware."""
        try:
            return self._pages.script(self._begin(mac, asked_from), asked_from)
        except WaltError as why:
            log.warning("machine %.40s at %s gets nothing to boot: %s", mac, asked_from, why)
            return bootplan.retry_script(str(why), f"{dns.BOOT_PAGE}?mac=${{netX/mac}}", self._site)

    def file_sent(self, name: str, asked_from: str) -> None:
        if name == KERNEL_FILE:
            self._machines.kernel_sent(asked_from)

    def _begin(self, mac: str, ip: str) -> int:
        wanted = wire.load(NodeWanted, peers.call(nodes.SERVICE, "register_machine", mac=mac, ip=ip))
        run = self._machines.begun(wanted).run
        try:
            self._boots.publish(_request(wanted, run))
        except WaltError as why:
            self._machines.failed(wanted.id, str(why))
            raise
        return wanted.id


def _request(wanted: NodeWanted, run: int) -> BootRequest:
    return BootRequest(
        node_id=wanted.id,
        name=wanted.name,
        run=run,
        mac=wanted.walt_net.mac,
        ip=wanted.ip,
        image=wanted.image,
        cpu_cores=wanted.cpu_cores,
        owner=wanted.owner,
        is_virtual=False,
    )
