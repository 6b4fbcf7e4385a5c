"""The bus of a service, one for all its parts."""

from __future__ import annotations

from nameko.extensions import SharedExtension

from services.kit import tasks
from services.kit.bus.bus import BrokerBus

PROBE_EVERY_S = 1.0


class ServiceBus(SharedExtension):
    """Connected as long as the broker is there, so that an alarm of the broker is known soon."""

    def setup(self) -> None:
        if not hasattr(self, "bus"):
            self.bus = BrokerBus(self.container.config["AMQP_URI"], self.container.service_name)

    def start(self) -> None:
        self._watch = tasks.spawn_loop("watch of the broker", self.bus.probe, every_s=PROBE_EVERY_S)

    def stop(self) -> None:
        self._watch.kill()
        self.bus.close()
