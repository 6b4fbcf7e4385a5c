"""What a node boots: the iPXE script, the kernel command line and the seed of its root. Pure.

The script uses iPXE's own variables, so that the ROM of a real machine can run it as well as vmrunner does.
"""

from __future__ import annotations

import io
import ipaddress
import re
import tarfile
from dataclasses import dataclass

from services.bootserver import exports
from services.contracts.bootserver import BootPlan, BootRequest

DOMAIN = "walt"  # of the names on walt-net
PANIC_S = 10
RETRY_S = 10
KERNEL_FILE = "vmlinuz"

# no_timer_check: many guests starting at once under TCG else panic now and then ("IO-APIC + timer doesn't work").
# rcu_expedited: each mount and module would wait for a grace period, long with several emulated CPUs.
# recover_lost_locks: a restart of the NFS server has no grace period (exports.py), and nobody else takes a node's locks.
KERNEL_OPTIONS = (
    "console=ttyS0 quiet mitigations=off no_timer_check tsc=reliable nowatchdog audit=0 8250.nr_uarts=1 "
    "rcupdate.rcu_expedited=1 nfs.recover_lost_locks=1 random.trust_cpu=on net.ifnames=0 systemd.show_status=true "
    f"panic={PANIC_S}"
)


@dataclass(frozen=True)
class Site:
    """walt-net as bootserver sees it: its own address there, the network, the port of its HTTP server."""

    server: str
    netmask: str
    http_port: int

    @property
    def own(self) -> tuple[str, str]:
        """The addresses that vmrunner asks from, for its nodes."""
        return self.server, "127.0.0.1"


def site(subnet: str, http_address: str) -> Site:
    """The first address of walt-net is the server's."""
    network = ipaddress.ip_network(subnet)
    return Site(str(network[1]), str(network.netmask), int(http_address.rpartition(":")[2]))


@dataclass(frozen=True)
class Files:
    """Kernel and initrd, each by the SHA-256 of its content."""

    kernel: str
    initrd: str


@dataclass(frozen=True)
class Root:
    """An image as the node sees it: its folder on the NFS server, the sizes of its files, and whether its kernel is the
    platform's, since it brings none."""

    folder: str
    size_bytes: int
    is_kernel_lent: bool = False

    @property
    def copy_kib(self) -> int:
        """Room for a copy: files fill whole blocks (6 % more for Debian's), and its changes need a little too."""
        return self.size_bytes * 9 // 8 // 1024


def answer(request: BootRequest, at: Site) -> BootPlan:
    return BootPlan(
        script_url=f"http://{_host(at.server, at)}/boot/{request.node_id}/script.ipxe",
        ip=request.ip,
        netmask=at.netmask,
        gateway=at.server,
        server=at.server,
    )


def script(request: BootRequest, root: Root, files: Files, at: Site) -> str:
    """iPXE: what vmrunner interprets, and what a ROM could run."""
    here = f"http://{_host('${next-server}', at)}/boot"
    arguments = (
        f"{_options(request)} walt.mac={request.mac} walt.ip=${{ip}} walt.netmask=${{netmask}} walt.gateway=${{gateway}} "
        f"walt.server=${{next-server}} walt.root={exports.IMAGES_ROOT}/{root.folder} "
        f"walt.size={root.copy_kib} walt.seed={here}/{request.node_id}/seed.tar"
    )
    if request.owner:
        arguments += f" walt.persist={exports.pseudo_path(request.node_id, request.owner)}"
    return "\n".join(
        [
            "#!ipxe",
            f"echo Booting ${{hostname}} with image {request.image}",
            *(["echo The image brings no kernel: this one is the platform's"] if root.is_kernel_lent else []),
            f"initrd {here}/files/{files.initrd}/initrd",
            f"kernel {here}/files/{files.kernel}/{KERNEL_FILE} initrd=initrd {arguments}",
            "boot",
            "",
        ]
    )


def own_script(request: BootRequest, at: Site) -> str:
    """iPXE, for an image that has a script: its files are at the root of the server, as upstream's are by tftp."""
    return "\n".join(
        [
            "#!ipxe",
            f"echo Booting ${{hostname}} with image {request.image}, by the script of the image",
            f"chain http://{_host('${next-server}', at)}/start.ipxe",
            "",
        ]
    )


def retry_script(why: str, path: str, at: Site) -> str:
    """iPXE, for a machine that cannot be told now what to boot: it asks again, for its address too."""
    said = re.sub(r"[^\w .,:;'()/-]", " ", why, flags=re.ASCII)
    return "\n".join(
        [
            "#!ipxe",
            f"echo walt: {said}",
            f"echo Trying again in {RETRY_S} s",
            f"sleep {RETRY_S}",
            "dhcp ||",
            f"chain --replace http://{_host(at.server, at)}{path}",
            "",
        ]
    )


def _options(request: BootRequest) -> str:
    """A machine has a screen, where its user looks for what walt-init says: the last one is /dev/console."""
    return KERNEL_OPTIONS if request.is_virtual else f"{KERNEL_OPTIONS} console=tty0"


def _host(address: str, at: Site) -> str:
    return address if at.http_port == 80 else f"{address}:{at.http_port}"


@dataclass(frozen=True)
class Keys:
    """authorized: line for authorized_keys; host_private, host_public: the node's own ssh key."""

    authorized: str
    host_private: str
    host_public: str


def seed(request: BootRequest, keys: Keys, at: Site) -> bytes:
    """A tar of what makes the shared image this node's: unpacked over its root before the OS starts."""
    folders = [("etc", 0o755), ("etc/ssh", 0o755), ("root", 0o700), ("root/.ssh", 0o700)]
    files = [
        ("etc/hostname", 0o644, f"{request.name}\n"),
        ("etc/hosts", 0o644, _hosts(request, at)),
        ("etc/resolv.conf", 0o644, f"search {DOMAIN}\nnameserver {at.server}\n"),
        ("etc/ssh/ssh_host_ed25519_key", 0o600, keys.host_private),
        ("etc/ssh/ssh_host_ed25519_key.pub", 0o644, keys.host_public),
        ("root/.ssh/authorized_keys", 0o600, keys.authorized),
    ]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, mode in folders:
            tar.addfile(_member(path, mode, tarfile.DIRTYPE, 0))
        for path, mode, text in files:
            content = text.encode()
            tar.addfile(_member(path, mode, tarfile.REGTYPE, len(content)), io.BytesIO(content))
    return buffer.getvalue()


def _hosts(request: BootRequest, at: Site) -> str:
    return (
        "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
        f"{request.ip} {request.name}\n{at.server} server\n"
    )


def _member(path: str, mode: int, kind: bytes, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.mode, member.type, member.size = mode, kind, size
    member.uname = member.gname = "root"
    return member
