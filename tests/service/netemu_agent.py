"""netemu as its own process, in a network namespace of its own."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from urllib.parse import urlsplit

from services.netemu.cable.control import CableClient
from tests.links.rig import stop_cable
from tests.support.amqp_user import AmqpUser
from tests.support.wait import wait_until
from walt.contracts import netemu, serialization
from walt.contracts.checks import Check
from walt.contracts.netemu import AttachedPort, PortReport
from walt.contracts.nodes import NodeWanted

HOST = "lab"
SERVICE = netemu.service_on(HOST)
METRICS_PORT = 9177


class Agent:
    """The process, and the namespace it lives in, which the process `pid` holds."""

    def __init__(self, uri, folder, host=HOST, login="", **environment):
        """login: the URI with which it logs in itself, where that is not the services' account."""
        port = str(urlsplit(uri).port)
        argv = [sys.executable, "-m", "tests.service.in_namespace", port]
        self._space = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._space.stdout.readline().strip()
        self.inside = ["nsenter", "-n", "-t", self.pid]
        self._service = netemu.service_on(host)
        self.folder = folder
        self._env = {
            **os.environ,
            "WALT_AMQP_URI": login or uri,
            "WALT_HOST": host,
            "WALT_RUN_DIR": str(folder),
            "WALT_METRICS_PORT": str(METRICS_PORT),
            **environment,
        }
        self.module = ["services.netemu"]
        self._process = None
        self._user = AmqpUser(uri)

    def start(self):
        argv = [*self.inside, sys.executable, "-m", *self.module]
        with open(self.folder / "netemu.log", "ab") as log:
            self._process = subprocess.Popen(argv, env=self._env, stdout=log, stderr=log)
        wait_until(self._answers, what=self.log)

    def _answers(self):
        with contextlib.suppress(TimeoutError):
            return "result" in self._user.reply(f"{self._service}.list_ports", user_id=self._user.name, wait_s=2)
        return False

    def call(self, method, **arguments):
        return self._user.call(f"{self._service}.{method}", **arguments)

    def attach(self, node: NodeWanted, **how: bool) -> list[AttachedPort]:
        reply = self.call(
            "attach_ports",
            node_id=node.id,
            name=node.name,
            owner=node.owner,
            interfaces=serialization.dump_all(node.interfaces),
            ip=node.ip,
            version=node.version,
            **how,
        )
        return serialization.load_all(AttachedPort, reply)

    def ports(self) -> list[PortReport]:
        return serialization.load_all(PortReport, self.call("list_ports"))

    def checks(self) -> dict[str, Check]:
        return {check.subject: check for check in serialization.load_all(Check, self.call("diagnose"))}

    def log(self):
        return (self.folder / "netemu.log").read_text()

    def kill(self):
        self._process.kill()
        self._process.wait()

    def run(self, *argv):
        return subprocess.run([*self.inside, *argv], check=True, capture_output=True, text=True).stdout

    def interfaces(self):
        return set(re.findall(r"^\d+: ([^:@]+)", self.run("ip", "-o", "link"), re.MULTILINE)) - {"lo"}

    def metric(self, line):
        fetch = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{METRICS_PORT}').read().decode())"
        text = self.run(sys.executable, "-c", fetch)
        return next((float(one.rsplit(" ", 1)[1]) for one in text.splitlines() if one.startswith(line)), None)

    def close(self):
        self._user.close()
        if self._process is not None:
            self.kill()
        stop_cable(CableClient(self.folder))
        self._space.stdin.close()
        self._space.wait(10)
