"""client.toml: the address of the broker, and the user's login there. The platform writes it.

amqp_uri      "amqp://USER:PASSWORD@HOST:PORT/VHOST", or "amqps://…" for TLS; the broker's certificate must be for HOST
ca            optional, with amqps: the certificates (PEM) of the trusted authorities; default: those of this system
while_exists  optional: a path that exists while the platform is up. The address of a local platform means nothing once
              its network is gone, and the password must not be sent to whatever host gets the packets then.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from walt.contracts.errors import Denied, InvalidRequest, Unreachable

KEYS = ("amqp_uri", "ca", "while_exists")
RULE = 'amqp_uri = "amqp://USER:PASSWORD@HOST:PORT/VHOST", or amqps:// for TLS'
PORTS = {"amqp": 5672, "amqps": 5671}


@dataclass(frozen=True)
class Configuration:
    """The content of a client.toml. user: the account in the URI; the broker accepts no other name.

    >>> parse_configuration('amqp_uri = "amqp://ada:secret@lab1/"', Path("client.toml")).broker
    'lab1:5672'
    """

    user: str
    password: str = field(repr=False)
    broker: str  # HOST:PORT
    vhost: str
    source: Path
    tls: bool = False
    ca: str | None = None

    @property
    def host(self) -> str:
        """The name that the broker's certificate must be for."""
        return self.broker.rpartition(":")[0].strip("[]")

    def uri_of(self, account: str, password: str) -> str:
        """Of the same broker, for another account."""
        login = f"{quote(account, safe='')}:{quote(password, safe='')}"
        return f"{'amqps' if self.tls else 'amqp'}://{login}@{self.broker}/{quote(self.vhost, safe='')}"


def load_configuration(environment: Mapping[str, str] = os.environ, prefix: str = sys.prefix) -> Configuration:
    """The first of the `candidates` that exists; Unreachable if there is none.

        load_configuration().user
        load_configuration({"WALT_CONFIG": "/home/ada/lab.toml"}).broker

    prefix: of the virtual environment in which a platform may have put the file.
    """
    paths = candidates(environment, prefix)
    for path in paths:
        try:
            return parse_configuration(path.read_text(), path)
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise Denied(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    looked = ", ".join(map(str, paths))
    raise Unreachable(
        f"no platform is configured here (looked for {looked}); 'make up' starts one and writes that file"
    )


def candidates(environment: Mapping[str, str], prefix: str) -> list[Path]:
    """Where client.toml may be, in order; only the path of WALT_CONFIG when that is set.

    >>> [str(path) for path in candidates({"HOME": "/home/ada"}, "/opt/walt")]
    ['/opt/walt/etc/walt/client.toml', '/home/ada/.config/walt/client.toml', '/etc/walt/client.toml']
    """
    if environment.get("WALT_CONFIG"):
        return [Path(environment["WALT_CONFIG"])]
    home = Path(environment.get("HOME") or "/")
    file = Path("walt") / "client.toml"
    return [Path(prefix) / "etc" / file, home / ".config" / file, Path("/etc") / file]


def parse_configuration(text: str, source: Path) -> Configuration:
    """The text of a client.toml; source: the path that messages name. InvalidRequest, or Unreachable for a local
    platform that is down.

    >>> parse_configuration('amqp_uri = "amqps://ada:p%2Fw@lab1//"', Path("client.toml")).password
    'p/w'
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequest(f"{source} is not TOML: {error}") from None
    if unknown := [key for key in content if key not in KEYS]:
        raise InvalidRequest(f"{source}: {', '.join(unknown)} is not known; allowed: {', '.join(KEYS)}")
    uri, marker, ca = content.get("amqp_uri"), content.get("while_exists"), content.get("ca")
    if marker is not None and not Path(str(marker)).exists():
        raise Unreachable(f"the platform of {source} is down ({marker} does not exist); 'make up' starts it")
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
