"""Where the broker is, and who we are there: one TOML file, made by the platform.

amqp_uri     "amqp://USER:PASSWORD@HOST:PORT/VHOST", or "amqps://…" for TLS; the broker must then prove to be HOST
ca           optional, with amqps: the certificates (PEM) of who may vouch for it; default: whom this system trusts
while_exists optional: a path that exists while the broker can be there. A local platform's address means nothing once
             its network is gone: the password must not be sent to whoever the host's routes lead to then.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from services.contracts.errors import Denied, InvalidRequest, Unreachable

KEYS = ("amqp_uri", "ca", "while_exists")
RULE = 'amqp_uri = "amqp://USER:PASSWORD@HOST:PORT/VHOST", or amqps:// for TLS'
PORTS = {"amqp": 5672, "amqps": 5671}


@dataclass(frozen=True)
class Configuration:
    """`user` is the account in the URI: the broker lets nobody use another name."""

    user: str
    password: str = field(repr=False)
    broker: str  # HOST:PORT
    vhost: str
    source: Path
    tls: bool = False
    ca: str | None = None

    @property
    def host(self) -> str:
        """As the broker's certificate has it."""
        return self.broker.rpartition(":")[0].strip("[]")


def load_configuration(environment: Mapping[str, str] = os.environ, prefix: str = sys.prefix) -> Configuration:
    """The first file there is; only the one named by WALT_CONFIG when that is set."""
    places = candidates(environment, prefix)
    for place in places:
        try:
            return parse_configuration(place.read_text(), place)
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise Denied(f"{place} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    looked = ", ".join(map(str, places))
    raise Unreachable(
        f"no platform is configured here (looked for {looked}); 'make up' starts one and writes that file"
    )


def candidates(environment: Mapping[str, str], prefix: str) -> list[Path]:
    if environment.get("WALT_CONFIG"):
        return [Path(environment["WALT_CONFIG"])]
    home = Path(environment.get("HOME") or "/")
    own = Path("walt") / "client.toml"
    return [Path(prefix) / "etc" / own, home / ".config" / own, Path("/etc") / own]


def parse_configuration(text: str, source: Path) -> Configuration:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequest(f"{source} is not TOML: {error}") from None
    if unknown := [key for key in content if key not in KEYS]:
        raise InvalidRequest(f"{source}: {', '.join(unknown)} is not known; allowed: {', '.join(KEYS)}")
    uri, sign, ca = content.get("amqp_uri"), content.get("while_exists"), content.get("ca")
    if sign is not None and not Path(str(sign)).exists():
        raise Unreachable(f"the platform of {source} is down ({sign} is not there); 'make up' starts it")
    if not isinstance(uri, str):
        raise InvalidRequest(f"{source} has no amqp_uri; allowed: {RULE}")
    if "?" in uri or "#" in uri:
        raise InvalidRequest(f"{source}: amqp_uri has '?' or '#' in it; allowed: {RULE}; in a password %3F and %23")
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme)
    except ValueError:
        raise InvalidRequest(f"{source}: the port in amqp_uri is not one; allowed: {RULE}") from None
    given = {"amqp://": parts.scheme in PORTS, "USER": parts.username, "PASSWORD": parts.password, "HOST": host}
    missing = [word for word, value in given.items() if not value]
    if missing:
        raise InvalidRequest(f"{source}: amqp_uri has no {' and no '.join(missing)}; allowed: {RULE}")
    if ca is not None and (parts.scheme != "amqps" or not isinstance(ca, str)):
        raise InvalidRequest(f"{source}: ca is for amqps:// and is text; allowed: {RULE}")
    return Configuration(
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        broker=f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}",
        vhost=unquote(parts.path[1:]) or "/",
        source=source,
        tls=parts.scheme == "amqps",
        ca=ca,
    )
