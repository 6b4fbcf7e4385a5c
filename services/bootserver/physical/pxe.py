"""A machine's own ROM requests a boot script: its node is found, or registered, and the machine gets its script."""

from __future__ import annotations

import logging
from collections.abc import Callable

from services.bootserver.boot import boot_script
from services.bootserver.boot.boot_payload import BootPayload
from services.bootserver.boot.boot_script import KERNEL_FILE
from services.bootserver.boot.boots import Boots
from services.bootserver.dns import dnsmasq
from services.bootserver.physical.machines import Machines
from services.bootserver.request_budget import RequestBudget
from services.bootserver.site import Site
from walt.contracts.bootserver import BootRequest
from walt.contracts.errors import WaltError
from walt.contracts.nodes import NodeWanted

BURST, REFILL_S = 5, 2.0  # boots of one address; a machine that cannot boot requests every RETRY_S

log = logging.getLogger(__name__)


class PxeBoot:
    """register(mac, ip): the spec of the machine's node, which is new when no node has this MAC."""

    def __init__(
        self,
        site: Site,
        boots: Boots,
        payload: BootPayload,
        machines: Machines,
        register: Callable[[str, str], NodeWanted],
    ) -> None:
        self._site = site
        self._boots = boots
        self._payload = payload
        self._machines = machines
        self._register = register
        self._budget = RequestBudget(BURST, REFILL_S)

    def script(self, mac: str, requester: str) -> str:
        """Never an error: a machine that cannot boot now gets a script that tries again, else its firmware gives up."""
        if not self._budget.spend(requester):
            return self._retry("too many requests")
        try:
            return self._payload.script(self._begin(mac, requester), requester)
        except WaltError as error:
            log.warning("machine %.40s at %s gets nothing to boot: %s", mac, requester, error)
            return self._retry(str(error))

    def _retry(self, why: str) -> str:
        return boot_script.retry_script(why, f"{dnsmasq.BOOT_PAGE}?mac=${{netX/mac}}", self._site)

    def file_requested(self, name: str, requester: str) -> None:
        if name == KERNEL_FILE:
            self._machines.kernel_sent(requester)

    def _begin(self, mac: str, ip: str) -> int:
        spec = self._register(mac, ip)
        run = self._machines.script_requested(spec).run
        try:
            self._boots.publish(BootRequest.of(spec, run))
        except WaltError as error:
            self._machines.cannot_boot(spec.id, str(error))
            raise
        return spec.id
