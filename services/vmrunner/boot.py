"""One power-on, from the wish to a running qemu: ports, boot plan, bootloader, process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.contracts import bootserver, console, netemu, units, wire
from services.contracts.bootserver import MODEL, BootPlan, BootRequest
from services.contracts.console import Line
from services.contracts.netemu import AttachedPort
from services.contracts.nodes import NodeWanted
from services.kit import peers
from services.vmrunner import ipxe, qemu
from services.vmrunner.accelerator import Accelerator
from services.vmrunner.cache import Cache
from services.vmrunner.disks import DiskStore
from services.vmrunner.line import SAY, LineWriter
from services.vmrunner.vm import Launcher, PowerOn, Vm

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Booter:
    host: str
    cache: Cache
    launcher: Launcher
    accelerator: Accelerator
    disks: DiskStore

    def prepare_line(self, wanted: NodeWanted) -> Line:
        place = peers.call(
            console.service_on(self.host),
            "prepare_line",
            node_id=wanted.id,
            name=wanted.name,
            owner=wanted.owner,
        )
        return wire.load(Line, place)

    def power_on(self, wanted: NodeWanted, run: int, line: LineWriter, pause: Callable[[float], None]) -> Vm:
        """pause: waits so many seconds, as the boot script says."""
        line.write(f"\n{SAY}power-on {run}, image {wanted.image}\n")
        disks = self._prepare_disks(wanted, line)
        ports = self._attach(wanted)
        plan = self._publish(wanted, run)
        boot = ipxe.Interpreter(self.cache, _Screen(line).say, pause).run(plan.script_url, variables(wanted, plan))
        line.write(f"{SAY}starting the kernel\n")
        return self._start(wanted, run, ports, disks, boot, line)

    def _prepare_disks(self, wanted: NodeWanted, line: LineWriter) -> list[Path]:
        for position, disk in enumerate(wanted.disks):
            size = units.format_disk(disk.size_bytes)
            line.write(f"{SAY}disk {qemu.disk_name(position)}: {size}, template {disk.template}\n")
        return self.disks.prepare(wanted.id, wanted.disks)

    def _attach(self, wanted: NodeWanted) -> list[AttachedPort]:
        ports = peers.call(
            netemu.service_on(self.host),
            "attach_ports",
            node_id=wanted.id,
            name=wanted.name,
            owner=wanted.owner,
            interfaces=wire.dump_all(wanted.interfaces),
            ip=wanted.ip,
            version=wanted.version,
        )
        return wire.load_all(AttachedPort, ports)

    def _publish(self, wanted: NodeWanted, run: int) -> BootPlan:
        request = BootRequest(
            node_id=wanted.id,
            name=wanted.name,
            run=run,
            mac=wanted.walt_net.mac,
            ip=wanted.ip,
            image=wanted.image,
            cpu_cores=wanted.cpu_cores,
            owner=wanted.owner,
        )
        return wire.load(BootPlan, peers.call(bootserver.SERVICE, "publish_boot", request=wire.dump(request)))

    def _start(
        self,
        wanted: NodeWanted,
        run: int,
        ports: list[AttachedPort],
        disks: list[Path],
        boot: ipxe.Boot,
        line: LineWriter,
    ) -> Vm:
        choice = self.accelerator.choose(boot.kernel.path)
        return self.launcher.start(
            PowerOn(
                wanted=wanted,
                run=run,
                command_line=boot.command_line,
                kernel=boot.kernel.path,
                initrd=boot.initrd.path if boot.initrd else None,
                taps={port.slot: port.tap for port in ports},
                disks=tuple(disks),
                line=line.line,
                accelerator=choice.name,
                kvm_group=self.accelerator.group(choice),
            )
        )


def variables(wanted: NodeWanted, plan: BootPlan) -> dict[str, str]:
    """What iPXE and a DHCP answer would give a script."""
    return {
        "mac": wanted.walt_net.mac,
        "net0/mac": wanted.walt_net.mac,
        "ip": plan.ip,
        "netmask": plan.netmask,
        "gateway": plan.gateway,
        "next-server": plan.server,
        "server_ip": plan.server,
        "hostname": wanted.name,
        "name": wanted.name,
        "model": MODEL,
        "vci": f"walt.node.{MODEL}",
        "manufacturer": "QEMU",
        "product": "Standard PC (i440FX + PIIX, 1996)",
        "platform": "pcbios",
    }


class _Screen:
    """Marks each new line of the bootloader as ours."""

    def __init__(self, line: LineWriter) -> None:
        self._line = line
        self._at_start = True

    def say(self, text: str) -> None:
        self._line.write(f"{SAY}{text}" if self._at_start else text)
        self._at_start = text.endswith("\n")
