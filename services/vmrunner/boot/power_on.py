"""One power-on, from the spec to a running qemu: disks, ports, boot plan, bootloader, qemu."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.kit.bus.bus import Bus
from services.vmrunner.boot.cache import BootFileCache
from services.vmrunner.boot.origin import origin_of
from services.vmrunner.boot.persist_disks import PersistDisks, is_disk
from services.vmrunner.boot.script_host import ScriptHost
from services.vmrunner.boot.script_runner import run_script
from services.vmrunner.disks.store import DiskStore
from services.vmrunner.qemu import command_line
from services.vmrunner.qemu.accelerator import Accelerator
from services.vmrunner.qemu.console_writer import PREFIX, LineWriter
from services.vmrunner.qemu.vm import Launcher, PowerOn, Vm
from walt.contracts import bootserver, console, netemu, serialization, units
from walt.contracts.bootserver import MODEL, BootPlan, BootRequest
from walt.contracts.console import LinePaths
from walt.contracts.netemu import AttachedPort
from walt.contracts.nodes import Interface, NodeWanted


@dataclass(frozen=True)
class Booter:
    host: str
    bus: Bus
    cache: BootFileCache
    launcher: Launcher
    accelerator: Accelerator
    disks: DiskStore
    persist: PersistDisks

    def prepare_line(self, spec: NodeWanted) -> LinePaths:
        paths = self.bus.call(
            console.service_on(self.host),
            "prepare_line",
            node_id=spec.id,
            name=spec.name,
            owner=spec.owner,
            owner_account=spec.owner_account,
        )
        return serialization.load(LinePaths, paths)

    def power_on(self, spec: NodeWanted, run: int, line: LineWriter, still_wanted: Callable[[], None]) -> Vm:
        """still_wanted: called now and then while the boot script runs, and may raise to end it (see ScriptHost)."""
        line.write(f"\n{PREFIX}power-on {run}, image {spec.image}\n")
        disks = self._prepare_disks(spec, line)
        ports = self._attach_ports(spec, spec.interfaces)
        plan = self._publish(spec, run)
        origin = origin_of(plan.script_url, spec.id, plan.ip)
        uid = self.launcher.reserve(spec.id)
        persist = self.persist.prepare(spec, plan, uid, lambda text: line.write(f"{PREFIX}{text}\n"))
        host = ScriptHost(self.cache, origin, _BootScreen(line).say, still_wanted)
        boot = run_script(host, uid, plan.script_url, variables(spec, plan))
        line.write(f"{PREFIX}starting the kernel\n")
        choice = self.accelerator.choose(boot.kernel.path)
        return self.launcher.start(
            PowerOn(
                spec=spec,
                run=run,
                uid=uid,
                command_line=boot.command_line,
                kernel=boot.kernel.path,
                initrd=boot.initrd.path if boot.initrd else None,
                root=boot.root.path if boot.root else None,
                taps={port.slot: port.tap for port in ports},
                disks=tuple(disks),
                persist=persist,
                line=line.line,
                accelerator=choice.name,
                kvm_group=self.accelerator.group(choice),
            )
        )

    def _prepare_disks(self, spec: NodeWanted, line: LineWriter) -> list[Path]:
        for position, disk in enumerate(spec.disks):
            size = units.format_disk(disk.size_bytes)
            line.write(f"{PREFIX}disk {command_line.disk_name(position)}: {size}, template {disk.template}\n")
        return self.disks.prepare(spec.id, spec.disks, spec.owned_by)

    def attach_live(self, spec: NodeWanted, interfaces: Sequence[Interface]) -> list[AttachedPort]:
        """Give a running node exactly these ports; those that it has keep their frames."""
        return self._attach_ports(spec, interfaces, live=True)

    def _attach_ports(self, spec: NodeWanted, interfaces: Sequence[Interface], **how: bool) -> list[AttachedPort]:
        ports = self.bus.call(
            netemu.service_on(self.host),
            "attach_ports",
            node_id=spec.id,
            name=spec.name,
            owner=spec.owner,
            interfaces=interfaces,
            ip=spec.ip,
            version=spec.version,
            **how,
        )
        return serialization.load_all(AttachedPort, ports)

    def _publish(self, spec: NodeWanted, run: int) -> BootPlan:
        plan = self.bus.call(bootserver.SERVICE, "publish_boot", request=BootRequest.of(spec, run, is_disk(spec)))
        return serialization.load(BootPlan, plan)


def variables(spec: NodeWanted, plan: BootPlan) -> dict[str, str]:
    """The variables that iPXE and a DHCP answer would give a script."""
    return {
        "mac": spec.walt_net.mac,
        "ip": plan.ip,
        "netmask": plan.netmask,
        "gateway": plan.gateway,
        "next-server": plan.server,
        "server_ip": plan.server,
        "hostname": spec.name,
        "name": spec.name,
        "model": MODEL,
        "vci": f"walt.node.{MODEL}",
        "manufacturer": "QEMU",
        "product": "Standard PC (i440FX + PIIX, 1996)",
        "platform": "pcbios",
    }


class _BootScreen:
    """Marks each new line of the bootloader as ours."""

    def __init__(self, line: LineWriter) -> None:
        self._line = line
        self._at_start = True

    def say(self, text: str) -> None:
        self._line.write(f"{PREFIX}{text}" if self._at_start else text)
        self._at_start = text.endswith("\n")
