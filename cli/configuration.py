"""Where the broker is, and who we are there: one TOML file with `amqp_uri`, written by `make up`."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from services.contracts.errors import Denied, InvalidRequest, Unreachable


@dataclass(frozen=True)
class Configuration:
    """`user` is the account in the URI: the broker lets nobody use another name."""

    amqp_uri: str
    user: str
    broker: str  # HOST:PORT, for messages
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
        uri = tomllib.loads(text).get("amqp_uri")
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequest(f"{source} is not TOML: {error}") from None
    if not isinstance(uri, str):
        raise InvalidRequest(f'{source} has no amqp_uri; allowed: amqp_uri = "amqp://USER:PASSWORD@HOST:PORT/VHOST"')
    try:
        parts = urlsplit(uri)
        user, host, port = unquote(parts.username or ""), parts.hostname, parts.port or 5672
    except ValueError:
        user, host, port = "", None, 0
    if parts_missing := [word for word, value in (("USER", user), ("HOST", host)) if not value]:
        raise InvalidRequest(
            f"{source}: amqp_uri has no {' and no '.join(parts_missing)}; allowed: amqp://USER:PASSWORD@HOST:PORT/VHOST"
        )
    return Configuration(uri, user, f"{host}:{port}", source)
