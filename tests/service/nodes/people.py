"""A nodes service that manages accounts at a real RabbitMQ, and the people who have them (fixtures: conftest)."""

from __future__ import annotations

from services.kit.bus.app import container
from services.kit.bus.bus import BrokerBus
from services.kit.environment import environment
from services.nodes.service import NodesService
from tests.service.conftest import PUBLIC
from walt.contracts.errors import from_wire

ADMIN = "ada"


class Nodes:
    """The service as a process: `start` again is a new one on the same state."""

    def __init__(self, uri, public_file):
        self.uri, self.public_file = uri, public_file
        self.public_file.write_text("\n".join(PUBLIC))
        self.container = None
        self.bus = BrokerBus(uri, "tests")

    def start(self):
        self.container = container(NodesService, environment())
        self.container.start()

    def stop(self):
        self.container.stop()

    @property
    def app(self):
        return next(one for one in self.container.dependencies if one.attr_name == "app").app


def do(person, method, **arguments):
    """What nodes answers to this person; its refusal is raised."""
    reply = person.reply(f"nodes.{method}", user_id=person.name, **arguments)
    if reply["error"]:
        raise from_wire(reply["error"]["exc_type"], reply["error"]["exc_args"])
    return reply["result"]


def users(admin):
    return {one["name"]: one for one in do(admin, "get_users")}


def account_of(service, name):
    with service.app.transaction() as registry:
        return registry.accounts.present(name).id
