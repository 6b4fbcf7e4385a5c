"""`python -m services.bootserver.dns.dnsmasq`: DNS, DHCP and TFTP of walt-net, as a process of its own (dnsmasq). It
knows the names of nodes and no others: those are the resolver's (`resolver.py`).

Separate from bootserver, so that a restart of that service leaves no node without names. This module writes the
configuration and becomes dnsmasq, which itself watches the folders of names and leases (`zone.py`). It listens only on
the server's address on walt-net, as soon as that exists.

DHCP and TFTP are for physical machines: their ROM gets an address of `walt_net_addresses.of_machines` and, unless it is
iPXE itself, an iPXE by TFTP (Debian: package ipxe), which requests a boot script from bootserver. Virtual nodes need
neither.

Environment: WALT_SUBNET, WALT_STATE_DIR.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import NoReturn

from services.bootserver.site import DOMAIN
from services.kit.environment import environment
from services.kit.files import write_atomically
from services.kit.subprocesses import child_environment
from walt.contracts import walt_net_addresses

DNSMASQ = "dnsmasq"
LOADERS = "/usr/lib/ipxe"  # what TFTP serves
LEASE_TIME = "12h"
IPXE_OPTION = 175  # the DHCP option that only iPXE sends
EFI_64 = (7, 9)  # RFC 4578: architectures that the ROM of a PC with UEFI may report
BOOT_PAGE = "/boot/machine.ipxe"  # of bootserver, with ?mac=


def names_folder(state_dir: Path) -> Path:
    """The hosts files that dnsmasq watches."""
    return state_dir / "dns" / "names"


def leases_folder(state_dir: Path) -> Path:
    """The addresses of known machines, which dnsmasq watches."""
    return state_dir / "dns" / "leases"


def configuration(subnet: str, state_dir: Path) -> str:
    """dnsmasq.conf. Pure."""
    server = str(walt_net_addresses.server(subnet))
    return "\n".join([*names(server, state_dir), *_dhcp(subnet, state_dir, server), *_boot(server), ""])


def names(server: str, state_dir: Path) -> list[str]:
    """Lines of a dnsmasq.conf: a name server of walt-net. Pure."""
    return [
        f"listen-address={server}",
        "bind-dynamic",  # netemu creates walt-net, perhaps later
        f"hostsdir={names_folder(state_dir)}",
        "no-hosts",
        "no-resolv",
        f"domain={DOMAIN}",
        "expand-hosts",
        f"local=/{DOMAIN}/",
        "domain-needed",
        "bogus-priv",
        "log-facility=-",
    ]


def _dhcp(subnet: str, state_dir: Path, server: str) -> list[str]:
    first, last = walt_net_addresses.of_machines(subnet)
    return [
        f"dhcp-range={first},{last},{ipaddress.ip_network(subnet).netmask},{LEASE_TIME}",
        "dhcp-authoritative",
        f"dhcp-option=option:ntp-server,{server}",
        "dhcp-ignore-names",  # a node is called what its owner calls it, not what the machine calls itself
        f"dhcp-hostsdir={leases_folder(state_dir)}",
        f"dhcp-leasefile={state_dir / 'dns' / 'given'}",
    ]


def _boot(server: str) -> list[str]:
    """netX: the interface that iPXE boots from."""
    return [
        f"dhcp-match=set:ipxe,{IPXE_OPTION}",
        *(f"dhcp-match=set:efi,option:client-arch,{kind}" for kind in EFI_64),
        f"dhcp-boot=tag:ipxe,http://{server}{BOOT_PAGE}?mac=${{netX/mac}}",
        "dhcp-boot=tag:!ipxe,tag:efi,ipxe.efi",
        "dhcp-boot=tag:!ipxe,tag:!efi,undionly.kpxe",
        f"dhcp-option=tag:ipxe,encap:{IPXE_OPTION},176,1b",  # no-pxedhcp: there is no second server to wait for
        "enable-tftp",
        f"tftp-root={LOADERS}",
        "tftp-no-fail",  # without the package ipxe, machines with iPXE in their ROM still boot
    ]


def become(settings: Path, content: str) -> NoReturn:
    """This process is dnsmasq from now on."""
    write_atomically(settings, content)
    try:
        argv = [DNSMASQ, "--keep-in-foreground", f"--conf-file={settings}", "--pid-file"]
        os.execvpe(DNSMASQ, argv, child_environment())
    except FileNotFoundError:
        raise SystemExit(f"{DNSMASQ} is not installed (Debian: dnsmasq-base)") from None


def make_folders(state_dir: Path) -> None:
    for folder in (names_folder(state_dir), leases_folder(state_dir)):
        folder.mkdir(parents=True, exist_ok=True)


def main() -> None:
    env = environment()
    make_folders(env.state_dir)
    become(env.state_dir / "dns" / "dnsmasq.conf", configuration(env.subnet, env.state_dir))


if __name__ == "__main__":
    main()
