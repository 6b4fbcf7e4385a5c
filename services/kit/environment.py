"""Configuration of a service process: environment variables, read once at start (twelve-factor, section III)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit


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
    WALT_VM_UID        user and group of the machines (0: as the services); they open taps and lines
    """

    amqp_uri: str
    host: str
    state_dir: Path
    run_dir: Path
    lines_dir: Path
    metrics_port: int
    subnet: str
    vm_uid: int

    @property
    def account(self) -> str:
        """Of the services, at the broker."""
        return unquote(urlsplit(self.amqp_uri).username or "")


DEFAULTS = {
    "WALT_AMQP_URI": "amqp://guest:guest@localhost:5672//",
    "WALT_HOST": "local",
    "WALT_STATE_DIR": "/var/lib/walt",
    "WALT_RUN_DIR": "/run/walt",
    "WALT_LINES_DIR": "/var/lib/walt/lines",
    "WALT_METRICS_PORT": "9100",
    "WALT_SUBNET": "192.168.172.0/22",
    "WALT_VM_UID": "64901",  # a number that Debian gives to nobody; the machines need no account
}


def variable(name: str, default: str | None = None) -> str:
    """A service's own variable (documented in its `service.py`); NAME_FILE names a file that holds it, as for secrets."""
    path = os.environ.get(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise SystemExit(f"{name}_FILE: {path} cannot be read: {error.strerror}") from None
    value = os.environ.get(name, default if default is not None else DEFAULTS.get(name))
    if value is None:
        raise SystemExit(f"{name} is not set")
    return value


def environment() -> Environment:
    return Environment(
        amqp_uri=variable("WALT_AMQP_URI"),
        host=variable("WALT_HOST"),
        state_dir=Path(variable("WALT_STATE_DIR")),
        run_dir=Path(variable("WALT_RUN_DIR")),
        lines_dir=Path(variable("WALT_LINES_DIR")),
        metrics_port=int(variable("WALT_METRICS_PORT")),
        subnet=variable("WALT_SUBNET"),
        vm_uid=int(variable("WALT_VM_UID")),
    )
