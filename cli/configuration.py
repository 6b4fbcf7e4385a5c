"""Where the broker is, and who we are there: one TOML file, written by `make up`.

amqp_uri     "amqp://USER:PASSWORD@HOST:PORT/VHOST"
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

RULE = 'amqp_uri = "amqp://USER:PASSWORD@HOST:PORT/VHOST"'


@dataclass(frozen=True)
class Configuration:
    """`user` is the account in the URI: the broker lets nobody use another name."""

    user: str
    password: str = field(repr=False)
    broker: str  # HOST:PORT
    vhost: str
    source: Path


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
    uri, sign = content.get("amqp_uri"), content.get("while_exists")
    if sign is not None and not Path(str(sign)).exists():
        raise Unreachable(f"the platform of {source} is down ({sign} is not there); 'make up' starts it")
    if not isinstance(uri, str):
        raise InvalidRequest(f"{source} has no amqp_uri; allowed: {RULE}")
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port or 5672
    except ValueError:
        raise InvalidRequest(f"{source}: the port in amqp_uri is not a number; allowed: {RULE}") from None
    given = {"amqp://": parts.scheme == "amqp", "USER": parts.username, "PASSWORD": parts.password, "HOST": host}
    missing = [word for word, value in given.items() if not value]
    if missing:
        raise InvalidRequest(f"{source}: amqp_uri has no {' and no '.join(missing)}; allowed: {RULE}")
    return Configuration(
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        broker=f"{host}:{port}",
        vhost=unquote(parts.path[1:]) or "/",
        source=source,
    )
