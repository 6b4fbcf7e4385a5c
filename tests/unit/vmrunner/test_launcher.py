"""The process that has the Docker socket: what can be said to it, and what cannot."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading

import pytest

from services.kit.docker import EngineAway, EngineRefused
from services.vmrunner.launcher import client, docker_vms, protocol
from services.vmrunner.launcher.client import FileHandover, LauncherAway, LauncherRefused, VmLauncher
from services.vmrunner.launcher.docker_vms import DockerVms
from services.vmrunner.launcher.protocol import StartTrial, StartVm
from services.vmrunner.launcher.server import LauncherServer
from services.vmrunner.uids import UidRange
from walt.contracts import serialization
from walt.contracts.errors import Failed, InvalidRequest

UIDS = UidRange(1000, 1010)
SOCKET = "walt-" + "0" * 32
VM = StartVm(5, 1, 1001, 2**27, 2, SOCKET)


class Vms:
    """Keeps what it is told."""

    def __init__(self):
        self.calls = []
        self.fault = None

    def __getattr__(self, verb):
        if verb not in protocol.VERBS:
            raise AttributeError(verb)

        def obey(request):
            self.calls.append((verb, request))
            if self.fault is not None:
                raise self.fault
            return 4711

        return obey


@pytest.fixture
def vms():
    return Vms()


@pytest.fixture
def server(tmp_path, vms):
    with LauncherServer(tmp_path / "run/socket", vms, peers=(os.getuid(),)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def launcher(server):
    return VmLauncher(server.server_address)


def say(server, line):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(server.server_address)
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answers:
            return json.loads(answers.readline())


def test_each_verb_arrives_as_it_was_sent(launcher, vms):
    assert launcher.start_vm(VM) == 4711
    launcher.signal_vm(5, 15)
    launcher.weigh_vm(5, 2)
    launcher.start_trial(StartTrial(1000, SOCKET, True, 104))
    assert launcher.wait_vm(5) is True and launcher.find_vm(5) == 4711
    assert vms.calls[:4] == [
        ("start_vm", VM),
        ("signal_vm", protocol.SignalVm(5, 15)),
        ("weigh_vm", protocol.WeighVm(5, 2)),
        ("start_trial", StartTrial(1000, SOCKET, True, 104)),
    ]


@pytest.mark.parametrize(
    ("fault", "raised"),
    [(EngineRefused("no"), LauncherRefused), (EngineAway("gone"), LauncherAway), (Failed("why"), Failed)],
)
def test_faults_keep_their_kind(launcher, vms, fault, raised):
    vms.fault = fault
    with pytest.raises(raised, match=str(fault)):
        launcher.image_id()


def test_a_fault_of_the_program_is_logged_and_told_without_its_text(launcher, vms, caplog):
    vms.fault = RuntimeError("a secret")
    with pytest.raises(Failed, match="RuntimeError in the launcher; see its log"):
        launcher.image_id()
    assert "a secret" in caplog.text
    vms.fault = None
    assert launcher.image_id() == "4711"


def start_vm(**changes):
    return {"verb": "start_vm", "request": {**serialization.dump(VM), **changes}}


@pytest.mark.parametrize(
    "message",
    [
        *(
            start_vm(**{field: value})
            for field, value in (("node_id", 0), ("node_id", "../x"), ("uid", 0), ("uid", -1))
        ),
        *(start_vm(socket=name) for name in ("", "walt-x", f"{SOCKET}\n", f"{SOCKET} --privileged", f"x{SOCKET}")),
        *(start_vm(**{field: value}) for field, value in (("ram_bytes", 0), ("cpu_cores", 0), ("kvm_group", 0))),
        start_vm(ram_bytes=None),
        {"verb": "signal_vm", "request": {"node_id": 5, "number": 19}},
        {"verb": "weigh_vm", "request": {"node_id": 5, "cpu_shares": 2000}},
        {"verb": "wait_trial", "request": {"limit_s": 1e9}},
        {"verb": "__init__", "request": {}},
        {"verb": "_start", "request": {}},
        {"verb": ["start_vm"], "request": {}},
        {"verb": "start_vm", "request": []},
        {"verb": "start_vm"},
        [],
        "x",
        7,
    ],
)
def test_what_is_not_of_the_vocabulary_is_refused(server, vms, message):
    answer = say(server, json.dumps(message).encode() + b"\n")
    assert answer["error"]["kind"] == "invalid" and answer["error"]["message"]
    assert vms.calls == []


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"{", b"\xff\xfe\n", b"[" * 5000, b"[" * 4000 + b"\n", b'{"verb": "image_id", "request": {}}']
)
def test_what_is_no_line_of_json_is_refused(server, vms, line):
    assert say(server, line)["error"]["kind"] == "invalid"
    assert vms.calls == []


def test_what_is_added_to_a_request_does_nothing(server, vms):
    say(server, json.dumps(start_vm(privileged=True, volumes=["/:/host"], image="x")).encode() + b"\n")
    assert vms.calls == [("start_vm", VM)]


def test_other_users_are_not_served(tmp_path, vms):
    with LauncherServer(tmp_path / "socket", vms, peers=(os.getuid() + 1,)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with pytest.raises(LauncherAway, match="no launcher answers|has hung up"):
            VmLauncher(tmp_path / "socket").image_id()
        server.shutdown()
    assert vms.calls == []


def test_the_socket_is_its_users_and_replaces_that_of_a_killed_one(tmp_path, vms):
    path = tmp_path / "socket"
    LauncherServer(path, vms, peers=(os.getuid(),)).server_close()
    with LauncherServer(path, vms, peers=(os.getuid(),)):
        assert path.stat().st_mode & 0o777 == 0o600


def test_no_launcher_is_said(tmp_path):
    with pytest.raises(LauncherAway, match="no launcher answers at .*none: No such file"):
        VmLauncher(tmp_path / "none").image_id()


class EngineContainers:
    """Of the SDK: keeps what a container is made with."""

    attrs = {"State": {"Pid": 4711}}

    def __init__(self):
        self.made = []

    def create(self, image, command, **options):
        self.made.append((image, command, options))
        return self

    def start(self):
        pass

    def reload(self):
        pass


@pytest.fixture
def engine(monkeypatch):
    containers = EngineContainers()
    monkeypatch.setattr(docker_vms.docker, "from_env", lambda: type("Client", (), {"containers": containers}))
    return containers


def test_a_vm_has_nothing_but_what_is_fixed(engine):
    assert DockerVms("image", "walt", UIDS, "container:x").start_vm(VM) == 4711
    ((image, command, options),) = engine.made
    assert (image, command) == ("image", [SOCKET, "200"])
    assert options.pop("labels") == {"walt.instance": "walt", "walt.node": "5", "walt.run": "1"}
    assert options == {
        "name": "walt-vm-5",
        "user": "1001:1001",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "read_only": True,
        "network_mode": "container:x",
        "pid_mode": "container:x",
        "log_config": {"type": "none"},
        "mem_limit": 2**27 + docker_vms.OVERHEAD_BYTES,
        "pids_limit": 2 + docker_vms.THREADS,
        "auto_remove": True,
    }


@pytest.mark.parametrize("uid", [999, 1011, 1])
def test_no_user_but_those_of_vms_runs_one(engine, uid):
    with pytest.raises(InvalidRequest, match=f"user {uid} runs no VM; allowed: 1000 to 1010"):
        DockerVms("image", "walt", UIDS, "container:x").start_vm(StartVm(5, 1, uid, 2**27, 2, SOCKET))
    assert engine.made == []


def test_files_go_to_the_expected_user_alone(tmp_path):
    with FileHandover(0.3) as handover, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"\0{handover.name}")
        with pytest.raises(Failed, match="the container does not report within 0.3 s"):
            handover.send(77, ["qemu"], [0, 1, 2])
        assert connection.recv(100) == b""
    with FileHandover(5) as handover, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"\0{handover.name}")
        handover.send(os.getuid(), ["qemu", "-m"], [0, 1, 2])
        assert connection.recv(100) == b"qemu\0-m\0"


def test_who_comes_before_the_expected_user_does_not_keep_him_from_his_files(monkeypatch):
    """Any VM's process finds the name of the socket in /proc/net/unix."""
    peers = iter([5, 6, 77])
    monkeypatch.setattr(client, "peer_uid", lambda connection: next(peers))
    with FileHandover(5) as handover, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(3)]
        for connection in connections:
            connection.connect(f"\0{handover.name}")
        handover.send(77, ["qemu"], [0, 1, 2])
        assert [connection.recv(100) for connection in connections] == [b"", b"", b"qemu\0"]


def test_a_container_that_does_not_report_is_said():
    with FileHandover(0.1) as handover, pytest.raises(Failed, match="the container does not report within 0.1 s"):
        handover.send(1, [], [])
