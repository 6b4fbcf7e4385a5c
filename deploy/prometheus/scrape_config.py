"""`python -m deploy.prometheus.scrape_config [--instance NAME]`: the configuration of Prometheus, on standard output.

Without an instance it is that of the compose file, deploy/prometheus/prometheus.yml; with one, that of a platform of
local mode, reached from this host. Either lists the same services.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click
import yaml

from deploy.local import network
from deploy.local.instance import Instance
from deploy.services import BROKER, METRICS_PORTS
from walt.contracts import nodes
from walt.contracts.errors import WaltError

JOBS_WITH_OWN_CONTAINER = (nodes.SERVICE, BROKER)  # the others share the network of `world` in the compose file

FOLDER = Path(__file__).resolve().parent
RULES = "rules/*.yml"
INTERVAL_S = 15

HostOf = Callable[[str], str]


def compose_host(job: str) -> str:
    return job if job in JOBS_WITH_OWN_CONTAINER else "world"


def configuration(host_of: HostOf, rules: str, interval_s: int = INTERVAL_S) -> str:
    """prometheus.yml. host_of: where a job is reached; rules: relative to the file, or absolute."""
    scrapes = [
        {"job_name": job, "static_configs": [{"targets": [f"{host_of(job)}:{port}"]}]}
        for job, port in METRICS_PORTS.items()
    ]
    interval = f"{interval_s}s"
    config = {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": [rules],
        "scrape_configs": scrapes,
    }
    return str(yaml.safe_dump(config, sort_keys=False))


def compose_configuration() -> str:
    return "# Written by `python -m deploy.prometheus.scrape_config`; a test keeps it fresh.\n" + configuration(
        compose_host, RULES
    )


def local_configuration(instance: Instance, interval_s: int = INTERVAL_S) -> str:
    uplink = network.find(instance)
    if uplink is None:
        raise WaltError(f"instance {instance.name} is down; start it: make up INSTANCE={instance.name}")
    return configuration(lambda _: str(uplink.inside), str(FOLDER / RULES), interval_s)


@click.command()
@click.option("--instance", metavar="NAME", help="a platform of local mode; default: that of the compose file")
def main(instance: str | None) -> None:
    """Print the configuration of Prometheus."""
    try:
        click.echo(local_configuration(Instance(instance)) if instance else compose_configuration(), nl=False)
    except (WaltError, ValueError) as error:
        click.echo(f"deploy.prometheus.scrape_config: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
