"""Small stand-ins for the services, as processes of their own: python -m tests.service.fake_platform NAME FOLDER

They keep what they know in FOLDER, so that they can be killed and started again.
  nodes     a node is booted DELAY_S after its boot; one whose name starts with "bad" fails, "slow" never boots, "data"
            holds data, and "crash" is a defect of the service
  bootserver   the image "default" and those that were saved; how to log in, WALT_SSH decides what that does
  console   a node's line is the file FOLDER/NAME.line; what is typed is appended to it; a command runs on this host
"""

import eventlet

eventlet.monkey_patch()

import json  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

from kombu import Connection, Consumer, Exchange, Queue  # noqa: E402
from nameko.containers import ServiceContainer  # noqa: E402

from services.kit.bus.entrypoints import Caller, internal, patient, public  # noqa: E402
from services.kit.environment import environment  # noqa: E402
from tests.service.fake_sessions import FOLDER, Capture, Line, Shell, sessions  # noqa: E402
from walt.contracts import console as contract  # noqa: E402
from walt.contracts import units  # noqa: E402
from walt.contracts.errors import Conflict, InvalidRequest, NeedsForce, NotFound, NotOwner, OwnerNeedsForce  # noqa: E402
from walt.contracts.names import FREE_NODES, MY_NODES, NODE_SETS, check_node_name, split_selection  # noqa: E402
from walt.contracts.nodes import PING, WAIT_S  # noqa: E402
from walt.contracts.settings import NodeConfig, apply_settings, parse_settings, show_settings  # noqa: E402

REGISTRY = FOLDER / "nodes.json"
DELAY_S = 0.4


def stored():
    return json.loads(REGISTRY.read_text()) if REGISTRY.exists() else {}


def store(nodes):
    REGISTRY.write_text(json.dumps(nodes))


def view(node):
    state = "booted" if time.time() - node["since"] > DELAY_S else "booting"
    reason = ""
    if node["name"].startswith("bad"):
        state, reason = "failed", "qemu is not installed"
    if node["name"].startswith("slow"):
        state, reason = "delaying", "9 s left"
    if node.get("off"):
        state, reason = "stopped", ""
    return {**node, "state": state, "reason": reason}


class Nodes:
    """Its refusals are those of the real one: test_fake_platform.py."""

    name = "nodes"
    caller = Caller()

    @public
    def create_nodes(self, names, settings=(), image=None):
        nodes = stored()
        config = apply_settings(NodeConfig(), parse_settings(settings))
        if "crash" in names:
            raise RuntimeError("a defect")
        doubled = [f"'{name}' is given twice; allowed: each name once" for name in units.doubled(names)]
        if doubled:
            raise InvalidRequest(*doubled)
        taken = [f"the name '{name}' is taken {by(nodes[name]['owner'])}" for name in names if name in nodes]
        if taken:
            raise Conflict(*taken)
        for name in names:
            nodes[check_node_name(name)] = {
                "name": name,
                "owner": self.caller,
                "since": time.time(),
                "type": "virtual",
                "ip": "192.168.172.2",
                "mac": "52:54:00:00:00:02",
                "image": image or "default",
                "host": "local",
                "config": show_settings(config),
            }
        store(nodes)
        return self.changed(names)

    @public
    def get_nodes(self, selection):
        nodes, chosen = stored(), []
        for item in split_selection(selection):
            owner = {MY_NODES: self.caller, FREE_NODES: ""}.get(item)
            if item in NODE_SETS:
                chosen += [name for name, node in nodes.items() if owner is None or node["owner"] == owner]
            else:
                chosen.append(item)
        missing = [name for name in chosen if name not in nodes]
        if missing:
            raise NotFound(*(f"no node '{name}'" for name in missing))
        return [view(nodes[name]) for name in dict.fromkeys(chosen)]

    @patient
    def wait_nodes(self, selection, seen=""):
        with (FOLDER / "waits").open("a") as log:
            log.write(f"{self.caller} {selection}\n")
        end = time.monotonic() + WAIT_S
        while True:
            nodes = self.get_nodes(selection)
            found = f"{os.getpid()} {[one['state'] for one in nodes]}"
            if found != seen or time.monotonic() > end:
                return {"nodes": nodes, "seen": found}
            eventlet.sleep(0.05)

    @public
    def get_notices(self):
        return [one for one in notices() if one["owner"] == self.caller]

    @public
    def configure_nodes(self, selection, settings, force=False):
        shown = show_settings(apply_settings(NodeConfig(), parse_settings(settings)))
        given = {key: shown[key] for key in (setting.partition("=")[0] for setting in settings)}
        self.change(selection, lambda node: node["config"].update(given))
        return self.changed(self.owned(selection), "takes effect at the next boot")

    @public
    def reboot_nodes(self, selection, hard=False):
        return self.start_nodes(selection)

    @public
    def start_nodes(self, selection):
        return self.change(selection, lambda node: node.update(since=time.time(), off=False))

    @public
    def stop_nodes(self, selection, hard=False):
        return self.change(selection, lambda node: node.update(since=time.time(), off=True))

    @public
    def boot_nodes(self, selection, image):
        return self.change(selection, lambda node: node.update(since=time.time(), off=False, image=image))

    @public
    def rename_node(self, name, new_name):
        self.owned(name)
        nodes = {new_name if key == name else key: node for key, node in stored().items()}
        nodes[new_name]["name"] = new_name
        store(nodes)
        return self.changed([new_name])

    @public
    def acquire_nodes(self, selection, force=False):
        found, nodes = self.get_nodes(selection), stored()
        own = [f"node '{node['name']}' is already yours" for node in found if node["owner"] == self.caller]
        if own:
            raise Conflict(*own)
        others = [node for node in found if node["owner"]]
        if others and not force:
            raise OwnerNeedsForce(*(f"{not_yours(node)}; take it over with --force" for node in others))
        for node in found:
            tell(node["owner"], self.caller, node["name"])
            nodes[node["name"]]["owner"] = self.caller
        store(nodes)
        return self.changed([node["name"] for node in found])

    @public
    def release_nodes(self, selection, force=False):
        self.check_data(selection, force)
        return self.change(selection, lambda node: node.update(since=time.time(), owner=""))

    @public
    def remove_nodes(self, selection, force=False):
        self.check_data(selection, force)
        names, nodes = self.owned(selection), stored()
        store({name: node for name, node in nodes.items() if name not in names})
        return {"nodes": [view(nodes[name]) for name in names], "notes": []}

    @public
    def diagnose(self):
        return [
            {"subject": "broker", "status": "ok", "found": "answers", "consequence": "", "fix": ""},
            {"subject": "accelerator", "status": "warn", "found": "tcg", "consequence": "slow", "fix": "use KVM"},
        ]

    @internal
    def authorize(self, user, name, action):
        node = stored().get(name)
        if node is None:
            raise NotFound(f"no node '{name}'")
        if node["owner"] != user and action != PING:
            raise NotOwner(not_yours(node))
        target = {key: view(node)[key] for key in ("name", "owner", "host", "state")}
        return {"id": 1 + list(stored()).index(name), "ip": "127.0.0.1", **target}

    @internal
    def get_specs(self, host=""):
        return {"registry": "r1", "nodes": []}

    def check_data(self, selection, force):
        holding = [name for name in self.owned(selection) if name.startswith("data")]
        if holding and not force:
            raise NeedsForce(*(f"node '{name}': disk vda holds data (1 MB); --force destroys it" for name in holding))

    def owned(self, selection):
        found = self.get_nodes(selection)
        refused = [not_yours(node) for node in found if node["owner"] != self.caller]
        if refused:
            raise NotOwner(*refused)
        return [node["name"] for node in found]

    def change(self, selection, change):
        names, nodes = self.owned(selection), stored()
        for name in names:
            change(nodes[name])
        store(nodes)
        return self.changed(names)

    def changed(self, names, *notes):
        return {"nodes": self.get_nodes(",".join(names)) if names else [], "notes": list(notes)}


def by(owner):
    return f"by a node of {owner}" if owner else "by a free node"


def not_yours(node):
    if not node["owner"]:
        return f"node '{node['name']}' is free; acquire it first (walt node acquire {node['name']})"
    return f"node '{node['name']}' belongs to {node['owner']}"


def notices():
    file = FOLDER / "notices.json"
    return json.loads(file.read_text()) if file.exists() else []


def tell(owner, user, node):
    event = {"id": 1, "at": time.time(), "node": node, "owner": owner, "user": user, "kind": "takeover", "text": ""}
    (FOLDER / "notices.json").write_text(json.dumps([*notices(), event]))


class Bootserver:
    name = "bootserver"
    caller = Caller()
    saved = []

    @public
    def get_images(self):
        return [
            {"name": name, "owner": name.rpartition("/")[0], "created": 0.0, "size_bytes": 230_000_000, "kernel": "6.1"}
            for name in ["default", *self.saved]
        ]

    @public
    def save_image(self, node, name, force=False):
        full = f"{self.caller}/{name}"
        if full in self.saved and not force:
            raise NeedsForce(f"image '{full}' is there already; allowed: another name, or --force to replace it")
        self.saved.append(full)
        return full

    @public
    def follow_job(self, job, seen=0):
        view = next(one for one in self.get_images() if one["name"] == job)
        return {"done": True, "output": [], "changed": {"image": view, "notes": [], "used_by": []}}

    @internal
    def open_access(self, node_id):
        return {"ip": f"127.0.0.{node_id}", "user": "root", "private_key": "KEY\n", "host_key": "ssh-ed25519 AAAA"}


class Console:
    name = contract.service_on("local")
    caller = Caller()

    @public
    def open_line(self, node, queue, read_only=False, offset=None, follow=True):
        return {"session": Line(queue, node, offset or 0, follow).id, "offset": offset or 0}

    @public
    def open_shell(self, node, queue, command=None, terminal=None):
        return {"session": Shell(queue, command, terminal).id, "offset": 0}

    @public
    def open_capture(self, node, network, queue, expression="", count=0):
        return {"session": Capture(queue, network, expression, count).id, "offset": 0}

    @public
    def keep_session(self, session):
        if session not in sessions:
            raise NotFound("no such session")

    @public
    def close_session(self, session):
        sessions.pop(session, None)
        (FOLDER / f"closed-{session}").touch()


def take_input():
    exchange = Exchange(contract.INPUT_EXCHANGE, "topic", durable=True)
    with Connection(environment().amqp_uri) as connection:
        queue = Queue("fake-console-input", exchange, contract.input_key("local"), auto_delete=True)

        def take(message):
            session = sessions.get(message.headers["session"])
            if session and message.properties["user_id"]:
                body = message.body.encode() if isinstance(message.body, str) else bytes(message.body)  # "" when empty
                session.input.put((message.headers["kind"], body))

        Consumer(connection.channel(), [queue], no_ack=True, on_message=take).consume()
        while True:
            connection.drain_events()


def main():
    service = {"nodes": Nodes, "bootserver": Bootserver, "console": Console}[sys.argv[1]]
    if service is Console:
        eventlet.spawn(take_input)
    container = ServiceContainer(service, {"AMQP_URI": environment().amqp_uri, "max_workers": 20})
    container.start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    (FOLDER / f"{sys.argv[1]}.ready").touch()
    container.wait()


if __name__ == "__main__":
    main()
