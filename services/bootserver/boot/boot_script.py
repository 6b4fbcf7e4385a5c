"""What a node boots: the iPXE script, the kernel command line and the seed of its root file system. Pure.

The scripts use iPXE's own variables, so that the ROM of a machine runs them as vmrunner does.
"""

from __future__ import annotations

import io
import re
import tarfile
from dataclasses import dataclass

from services.bootserver.image_kernel.boot_files import BootFiles
from services.bootserver.platform_block import HOSTS, KEYS, RESOLVER, block
from services.bootserver.site import DOMAIN, Site
from walt.contracts.bootserver import BootPlan, BootRequest
from walt.contracts.port_addresses import without_prefix

PANIC_S = 10
RETRY_S = 10
KERNEL_FILE = "vmlinuz"
ADDRESSES_FILE = "etc/walt/addresses"

# no_timer_check: without it, some of many guests that start at once under TCG panic ("IO-APIC + timer doesn't work").
# rcu_expedited: otherwise each mount and module waits for a grace period, which is long with several emulated CPUs.
KERNEL_OPTIONS = (
    "console=ttyS0 quiet mitigations=off no_timer_check tsc=reliable nowatchdog audit=0 8250.nr_uarts=1 "
    "rcupdate.rcu_expedited=1 random.trust_cpu=on net.ifnames=0 systemd.show_status=true "
    f"panic={PANIC_S}"
)


@dataclass(frozen=True)
class RootImage:
    """The image of a node. folder: below the image store, names a copy of it on a hybrid-boot disk; is_kernel_lent:
    the image has no kernel, and boots with the platform's."""

    folder: str
    is_kernel_lent: bool = False


def boot_plan(request: BootRequest, site: Site, persist_folder: str = "") -> BootPlan:
    return BootPlan(
        script_url=f"http://{site.http_host(site.server)}/boot/{request.node_id}/script.ipxe",
        ip=request.ip,
        netmask=site.netmask,
        gateway=site.server,
        server=site.server,
        persist_folder=persist_folder,
    )


def script(request: BootRequest, root: RootImage, files: BootFiles, site: Site, network_disk: str = "") -> str:
    """The iPXE script of an image without one of its own. network_disk: for /persist, as its kernel names it."""
    url = f"http://{site.http_host('${next-server}')}/boot"
    arguments = (
        f"{_options(request)} walt.mac={request.mac} walt.ip=${{ip}} walt.netmask=${{netmask}} "
        f"walt.gateway=${{gateway}} walt.server=${{next-server}} walt.image={root.folder.rpartition('/')[2]} "
        f"walt.format={files.root_format} walt.size={copy_kib(files)} walt.seed={url}/{request.node_id}/seed.tar"
    )
    if network_disk:
        arguments += f" walt.persist={network_disk}"
    return "\n".join(
        [
            "#!ipxe",
            f"echo Booting ${{hostname}} with image {request.image}",
            *(["echo The image brings no kernel: this one is the platform's"] if root.is_kernel_lent else []),
            f"initrd {url}/files/{files.initrd}/initrd",
            _root(request, f"{url}/files/{files.root}/root", files),
            f"kernel {url}/files/{files.kernel}/{KERNEL_FILE} initrd=initrd {arguments}",
            "boot",
            "",
        ]
    )


def copy_kib(files: BootFiles) -> int:
    """KiB that a hybrid-boot disk needs for the image, with some for the changes."""
    return files.root_bytes * 9 // 8 // 1024


def _root(request: BootRequest, url: str, files: BootFiles) -> str:
    """A VM gets its root as a disk, which its bootloader fetches once for all VMs of a host; a machine into its
    memory, as a file beside those of the initrd."""
    return f"sanhook {url}" if request.is_virtual else f"initrd {url} /root.{files.root_format}"


def chain_script(request: BootRequest, site: Site) -> str:
    """iPXE that runs the image's own script, which is at the root of the HTTP server, as with upstream's TFTP."""
    return "\n".join(
        [
            "#!ipxe",
            f"echo Booting ${{hostname}} with image {request.image}, by the script of the image",
            f"chain http://{site.http_host('${next-server}')}/start.ipxe",
            "",
        ]
    )


def retry_script(why: str, path: str, site: Site) -> str:
    """iPXE for a machine that has nothing to boot now: show why, ask DHCP and then `path` again."""
    text = re.sub(r"[^\w .,:;'()/-]", " ", why, flags=re.ASCII)
    return "\n".join(
        [
            "#!ipxe",
            f"echo walt: {text}",
            f"echo Trying again in {RETRY_S} s",
            f"sleep {RETRY_S}",
            "dhcp ||",
            f"chain --replace http://{site.http_host(site.server)}{path}",
            "",
        ]
    )


def _options(request: BootRequest) -> str:
    """The last console= becomes /dev/console, where walt-init prints: on a machine that is its screen."""
    return KERNEL_OPTIONS if request.is_virtual else f"{KERNEL_OPTIONS} console=tty0"


@dataclass(frozen=True)
class SeedKeys:
    """authorized: line of authorized_keys; host_private, host_public: the ssh host key of the node."""

    authorized: str
    host_private: str
    host_public: str


def seed(request: BootRequest, keys: SeedKeys, site: Site) -> bytes:
    """A tar with names and keys of this node, for walt-init to unpack over its root before the OS starts."""
    folders = [("etc", 0o755), ("etc/ssh", 0o755), ("etc/walt", 0o755), ("root", 0o700), ("root/.ssh", 0o700)]
    files = [
        ("etc/hostname", 0o644, f"{request.name}\n"),
        (HOSTS, 0o644, hosts(request, site)),
        (RESOLVER, 0o644, block(f"search {DOMAIN}\nnameserver {site.server}\n")),
        (ADDRESSES_FILE, 0o644, _addresses(request)),  # also if empty: a root that lasts has that of an earlier boot
        ("etc/ssh/ssh_host_ed25519_key", 0o600, keys.host_private),
        ("etc/ssh/ssh_host_ed25519_key.pub", 0o644, keys.host_public),
        (KEYS, 0o600, block(keys.authorized)),
    ]
    if request.machine_id:
        files.append(("etc/machine-id", 0o444, f"{request.machine_id}\n"))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, mode in folders:
            tar.addfile(_member(path, mode, tarfile.DIRTYPE, 0))
        for path, mode, text in files:
            content = text.encode()
            tar.addfile(_member(path, mode, tarfile.REGTYPE, len(content)), io.BytesIO(content))
    return buffer.getvalue()


def hosts(request: BootRequest, site: Site) -> str:
    """The platform's block of its /etc/hosts."""
    own = [
        f"{without_prefix(address)} {request.name}.{interface.network}\n"
        for interface in request.interfaces
        for address in interface.addresses
    ]
    return block(
        "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
        f"{request.ip} {request.name}\n{''.join(own)}{site.server} server\n"
    )


def _addresses(request: BootRequest) -> str:
    """For walt-init: 'ens3 10.64.0.1/24', a line each."""
    return "".join(
        f"ens{interface.slot} {address}\n" for interface in request.interfaces for address in interface.addresses
    )


def _member(path: str, mode: int, kind: bytes, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.mode, member.type, member.size = mode, kind, size
    member.uname = member.gname = "root"
    return member
