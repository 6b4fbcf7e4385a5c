"""The services and the ports of the platform, as local mode, compose and Prometheus have them. Pure.

The compose file says the same numbers: a test compares them.
"""

from __future__ import annotations

from walt.contracts import bootserver, console, netemu, nodes, vmrunner

SERVICES = (nodes.SERVICE, bootserver.SERVICE, vmrunner.SERVICE, netemu.SERVICE, console.SERVICE)
BROKER = "rabbitmq"

BROKER_PORT = 5672
MANAGEMENT_PORT = 15672
METRICS_PORTS = {service: 9101 + number for number, service in enumerate(SERVICES)} | {BROKER: 15692}
