"""Configuration of a service process: environment variables, read once at start (twelve-factor, section III)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

NAMEKO_KEY = "environment"  # in the configuration of nameko, which gives it to all extensions of a service


@dataclass(frozen=True)
class Environment:
    """What every service process is told. Only this module reads the common variables.

    WALT_AMQP_URI      broker, with the services' account
    WALT_HOST          label of this host in the names of its agents
    WALT_STATE_DIR     what must survive a restart of the machine; a folder per service below it
    WALT_RUN_DIR       sockets and pid files
    WALT_LINES_DIR     the console lines, shared by console and vmrunner of one host
    WALT_METRICS_PORT  where Prometheus scrapes this process
    WALT_SUBNET        walt-net; its first address is the server's
    """

    amqp_uri: str
    host: str
    state_dir: Path
    run_dir: Path
    lines_dir: Path
    metrics_port: int
    subnet: str
    variables: Mapping[str, str] = field(
        default_factory=dict, repr=False
    )  # all of this process; secrets may be among them

    def variable(self, name: str, default: str) -> str:
        """A service's own variable, documented in its `service.py`."""
        return _value(self.variables, name, default)

    @property
    def account(self) -> str:
        """Of the services, at the broker."""
        return account_of(self.amqp_uri)


def account_of(amqp_uri: str) -> str:
    return unquote(urlsplit(amqp_uri).username or "")


DEFAULTS = {
    "WALT_AMQP_URI": "amqp://guest:guest@localhost:5672//",
    "WALT_HOST": "local",
    "WALT_STATE_DIR": "/var/lib/walt",
    "WALT_RUN_DIR": "/run/walt",
    "WALT_LINES_DIR": "/var/lib/walt/lines",
    "WALT_METRICS_PORT": "9100",
    "WALT_SUBNET": "192.168.172.0/22",
}


def environment() -> Environment:
    variables = dict(os.environ)

    def common(name: str) -> str:
        return _value(variables, name, DEFAULTS[name])

    return Environment(
        amqp_uri=common("WALT_AMQP_URI"),
        host=common("WALT_HOST"),
        state_dir=Path(common("WALT_STATE_DIR")),
        run_dir=Path(common("WALT_RUN_DIR")),
        lines_dir=Path(common("WALT_LINES_DIR")),
        metrics_port=int(common("WALT_METRICS_PORT")),
        subnet=common("WALT_SUBNET"),
        variables=variables,
    )


def _value(variables: Mapping[str, str], name: str, default: str) -> str:
    """NAME_FILE names a file that holds the value of NAME, as for secrets. SystemExit where it cannot be read."""
    path = variables.get(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise SystemExit(f"{name}_FILE: {path} cannot be read: {error.strerror}") from None
    return variables.get(name, default)
