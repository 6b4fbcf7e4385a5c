"""`python -m services.bootserver.dns`: the name server of walt-net, as a process of its own (dnsmasq).

Apart from bootserver, so that a restart of that service leaves no node without names. Writes the configuration and
becomes dnsmasq, which follows the folder of names (`zone.py`) by itself. It listens on the server's address on
walt-net only, as soon as that is there.

Environment: WALT_DNS_UPSTREAM ("192.0.2.1,192.0.2.2": who is asked for all other names; default none: they are
refused), WALT_SUBNET, WALT_STATE_DIR.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path

from services.bootserver.bootplan import DOMAIN
from services.contracts.errors import InvalidRequest
from services.kit.environment import environment, variable
from services.kit.files import write_atomically

DNSMASQ = "dnsmasq"


def names_folder(state: Path) -> Path:
    """Where dnsmasq looks for names; below WALT_STATE_DIR."""
    return state / "dns" / "names"


def configuration(server: str, names: Path, upstream: Sequence[str]) -> str:
    """dnsmasq.conf. Pure."""
    return "\n".join(
        [
            f"listen-address={server}",
            "bind-dynamic",  # netemu makes walt-net, perhaps later
            f"hostsdir={names}",
            "no-hosts",
            "no-resolv",
            *(f"server={address}" for address in upstream),
            f"domain={DOMAIN}",
            "expand-hosts",
            f"local=/{DOMAIN}/",
            "domain-needed",
            "bogus-priv",
            "log-facility=-",
            "",
        ]
    )


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
    names = names_folder(env.state_dir)
    names.mkdir(parents=True, exist_ok=True)
    settings = env.state_dir / "dns" / "dnsmasq.conf"
    server = str(ipaddress.ip_network(env.subnet)[1])
    try:
        upstream = parse_upstream(variable("WALT_DNS_UPSTREAM", ""))
    except InvalidRequest as error:
        raise SystemExit(str(error)) from None
    write_atomically(settings, configuration(server, names, upstream))
    try:
        os.execvp(DNSMASQ, [DNSMASQ, "--keep-in-foreground", f"--conf-file={settings}", "--pid-file"])
    except FileNotFoundError:
        raise SystemExit(f"{DNSMASQ} is not installed (Debian: dnsmasq-base)") from None


if __name__ == "__main__":
    main()
