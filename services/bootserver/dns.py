"""`python -m services.bootserver.dns`: DNS, DHCP and TFTP of walt-net, as a process of its own (dnsmasq).

Apart from bootserver, so that a restart of that service leaves no node without names. Writes the configuration and
becomes dnsmasq, which follows the folders of names and leases (`zone.py`) by itself. It listens on the server's address
on walt-net only, as soon as that is there.

DHCP and TFTP are for machines that are not ours: their ROM gets an address of `contracts.addresses.of_machines` and, when
it is no iPXE, an iPXE by TFTP (Debian: package ipxe); iPXE asks bootserver what to boot. Virtual nodes need neither.

Environment: WALT_DNS_UPSTREAM ("192.0.2.1,192.0.2.2": who is asked for all other names; default none: they are
refused), WALT_SUBNET, WALT_STATE_DIR.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path

from services.bootserver.bootplan import DOMAIN
from services.contracts import addresses
from services.contracts.errors import InvalidRequest
from services.kit.environment import environment, variable
from services.kit.files import write_atomically

DNSMASQ = "dnsmasq"
LOADERS = "/usr/lib/ipxe"  # what TFTP serves
LEASE_TIME = "12h"
IPXE_OPTION = 175  # iPXE's own DHCP option, by which it is known
EFI_64 = (7, 9)  # RFC 4578: how the ROM of a PC with UEFI says what it is
BOOT_PAGE = "/boot/machine.ipxe"  # of bootserver, with ?mac=


def names_folder(state: Path) -> Path:
    """Where dnsmasq looks for names; below WALT_STATE_DIR."""
    return state / "dns" / "names"


def leases_folder(state: Path) -> Path:
    """Where dnsmasq looks for the addresses of known machines; below WALT_STATE_DIR."""
    return state / "dns" / "leases"


def configuration(subnet: str, state: Path, upstream: Sequence[str]) -> str:
    """dnsmasq.conf. Pure."""
    return "\n".join(
        [
            f"listen-address={addresses.server(subnet)}",
            "bind-dynamic",  # netemu makes walt-net, perhaps later
            f"hostsdir={names_folder(state)}",
            "no-hosts",
            "no-resolv",
            *(f"server={address}" for address in upstream),
            f"domain={DOMAIN}",
            "expand-hosts",
            f"local=/{DOMAIN}/",
            "domain-needed",
            "bogus-priv",
            "log-facility=-",
            *_dhcp(subnet, state),
            *_boot(str(addresses.server(subnet))),
            "",
        ]
    )


def _dhcp(subnet: str, state: Path) -> list[str]:
    first, last = addresses.of_machines(subnet)
    return [
        f"dhcp-range={first},{last},{ipaddress.ip_network(subnet).netmask},{LEASE_TIME}",
        "dhcp-authoritative",
        "dhcp-ignore-names",  # the name of a node is what its owner says here, not what the machine says
        f"dhcp-hostsdir={leases_folder(state)}",
        f"dhcp-leasefile={state / 'dns' / 'given'}",
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
        "tftp-no-fail",  # without that package, machines with an iPXE boot all the same
    ]


def parse_upstream(text: str) -> list[str]:
    """'192.0.2.1,192.0.2.2' -> ['192.0.2.1', '192.0.2.2']. Pure."""
    addresses = [item for item in text.split(",") if item]
    for address in addresses:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise InvalidRequest(
                f"WALT_DNS_UPSTREAM: '{address}' is no address; allowed: addresses, split by commas"
            ) from None
    return addresses


def main() -> None:
    env = environment()
    for folder in (names_folder(env.state_dir), leases_folder(env.state_dir)):
        folder.mkdir(parents=True, exist_ok=True)
    settings = env.state_dir / "dns" / "dnsmasq.conf"
    try:
        upstream = parse_upstream(variable("WALT_DNS_UPSTREAM", ""))
    except InvalidRequest as error:
        raise SystemExit(str(error)) from None
    write_atomically(settings, configuration(env.subnet, env.state_dir, upstream))
    try:
        os.execvp(DNSMASQ, [DNSMASQ, "--keep-in-foreground", f"--conf-file={settings}", "--pid-file"])
    except FileNotFoundError:
        raise SystemExit(f"{DNSMASQ} is not installed (Debian: dnsmasq-base)") from None


if __name__ == "__main__":
    main()
