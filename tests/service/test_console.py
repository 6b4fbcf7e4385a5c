"""console as its own process on a real RabbitMQ; users with their own accounts; the world around it is in console_world."""

import contextlib
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import eventlet
import pytest
from eventlet.green import os as green_os
from nameko.containers import ServiceContainer
from nameko.standalone.events import event_dispatcher

from services.console import rules
from services.contracts import console
from services.contracts.errors import Conflict, Denied, Failed, InvalidRequest, NotFound, NotOwner, Unreachable
from services.kit import peers
from tests.service.conftest import PASSWORD
from tests.service.console_world import (
    HOST,
    SERVICE,
    VM_UID,
    ConsoleProcess,
    FakeBootserver,
    FakeNodes,
    Machine,
    User,
    is_alive,
    wanted,
)

pytestmark = pytest.mark.usefixtures("as_root")  # files are given to the user of the machines


@pytest.fixture(scope="module")
def place():
    """A folder that the machines' own user can reach, as it can reach the real one."""
    with tempfile.TemporaryDirectory(prefix="walt-console-") as folder:
        os.chmod(folder, 0o711)
        yield Path(folder)


@pytest.fixture(scope="module")
def uri(broker_port, vhost):
    return f"amqp://walt-services:{PASSWORD}@127.0.0.1:{broker_port}/{vhost}"


@pytest.fixture(scope="module")
def peers_of_console(uri):
    containers = [ServiceContainer(one, {"AMQP_URI": uri}) for one in (FakeNodes, FakeBootserver)]
    for container in containers:
        container.start()
    yield
    for container in containers:
        container.kill()


@pytest.fixture(scope="module")
def process(uri, peers_of_console, place):
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {
        **os.environ,
        "WALT_AMQP_URI": uri,
        "WALT_HOST": HOST,
        "WALT_LINES_DIR": str(place / "lines"),
        "WALT_RUN_DIR": str(place / "run"),
        "WALT_METRICS_PORT": str(port),
        "WALT_VM_UID": str(VM_UID),
        "WALT_SSH": str(place / "ssh"),
    }
    process = ConsoleProcess(env, place / "console.log")
    yield process
    if process.process.poll() is None:
        process.end(signal.SIGKILL)


@pytest.fixture
def service(process, amqp_uri, place):
    """One process for all tests; each finds it running, without lines."""
    if process.process.poll() is not None:
        process.start()
    wait_until_it_hears(process)
    yield process
    sys.stdout.write(process.log.read_text()[-5000:])
    if process.process.poll() is None:
        event_dispatcher({"AMQP_URI": amqp_uri})("nodes", "node_removed", {"id": 1, "name": "vnode1", "host": HOST})
        until(lambda: not (place / "lines" / "1").exists())


def wait_until_it_hears(process):
    with eventlet.Timeout(30):
        while True:
            assert process.process.poll() is None, process.log.read_text()
            with contextlib.suppress(Unreachable):
                checks = peers.call(SERVICE, "diagnose", timeout_s=1)
                if all(check["status"] == "ok" for check in checks if check["subject"] == "console input"):
                    return
            eventlet.sleep(0.1)


@pytest.fixture
def user(user_uri):
    users = []

    def make(name="alice"):
        users.append(User(user_uri(name), name))
        return users[-1]

    yield make
    for one in users:
        one.close()


@pytest.fixture
def machine(service, place):
    machines = []

    def power_on(number=1):
        line = peers.call(SERVICE, "prepare_line", node_id=number, name=f"vnode{number}")
        machines.append(Machine(Path(line["socket"]).parent))
        return machines[-1]

    yield power_on
    for one in machines:
        one.end()


def until(condition, limit_s=10):
    with eventlet.Timeout(limit_s):
        while not condition():
            eventlet.sleep(0.02)


# -- lines


def test_several_viewers_see_the_same_from_power_on(machine, user, place):
    machine().say(b"first boot\n")
    until(lambda: (place / "lines/1/line.log").read_bytes() == b"first boot\n")
    vm = machine()
    vm.say(b"second boot\n")
    early, late = user(), user()
    assert early.open("open_line", node="vnode1")["offset"] == len(b"first boot\n")
    early.wait(lambda: early.data() == b"second boot\n")
    late.open("open_line", node="vnode1", read_only=True)
    vm.say(b"login: ")
    for one in (early, late):
        one.wait(lambda one=one: one.data() == b"second boot\nlogin: ")
        assert one.offset() == len(b"first boot\nsecond boot\nlogin: ")


def test_offset_and_no_follow(machine, user, place):
    machine().say(b"0123456789")
    until(lambda: (place / "lines/1/line.log").read_bytes() == b"0123456789")
    viewer = user()
    assert viewer.open("open_line", node="vnode1", offset=4, follow=False)["offset"] == 4
    viewer.wait(lambda: viewer.exit_status() == 0)
    assert viewer.data() == b"456789"
    with pytest.raises(InvalidRequest, match="offset 11 is not in the line; allowed: 0 to 10"):
        user().open("open_line", node="vnode1", offset=11)


def test_line_that_cannot_be_marked_is_told(service, place):
    peers.call(SERVICE, "prepare_line", node_id=1, name="vnode1")
    marks = place / "lines" / "1" / "line.json"
    marks.unlink()
    marks.mkdir()
    with pytest.raises(Failed, match=r"console line in .*/1 cannot be written: Is a directory"):
        peers.call(SERVICE, "prepare_line", node_id=1, name="vnode1")


def test_keystrokes_arrive_in_order_and_whole(machine, user):
    """Every byte value, and what a multiplexed monitor of qemu would take for itself."""
    vm, viewer = machine(), user()
    viewer.open("open_line", node="vnode1")
    rng = random.Random(1)
    pieces = [b"\x01c", b"\x01x", b"\x1b[A", *(rng.randbytes(rng.randint(1, 300)) for _ in range(300))]
    for piece in pieces:
        viewer.send(console.DATA, piece)
    until(lambda: len(vm.heard) >= sum(map(len, pieces)))
    assert vm.heard == b"".join(pieces)


def test_read_only_viewer_writes_nothing_and_is_told_once(machine, user):
    vm, viewer = machine(), user()
    viewer.open("open_line", node="vnode1", read_only=True)
    viewer.send(console.DATA, b"reboot\n")
    viewer.send(console.DATA, b"reboot\n")
    viewer.wait(lambda: viewer.notices())
    viewer.pause(0.3)
    assert len(viewer.notices()) == 1 and "read-only" in viewer.notices()[0]
    assert vm.heard == b""


def test_input_without_machine_is_dropped_and_told(machine, service, user):
    peers.call(SERVICE, "prepare_line", node_id=1, name="vnode1")
    viewer = user()
    viewer.open("open_line", node="vnode1")
    viewer.send(console.DATA, b"lost\n")
    viewer.wait(lambda: viewer.notices())
    assert "vnode1" in viewer.notices()[0]
    vm = machine()
    until(lambda: viewer.send(console.DATA, b"kept\n") or b"kept" in vm.heard)
    assert b"lost" not in vm.heard


def test_foreign_users_are_kept_out(machine, user):
    vm, alice, bob = machine(), user(), user("bob")
    alice.open("open_line", node="vnode1")
    with pytest.raises(NotOwner, match="vnode1 belongs to alice"):
        bob.open("open_line", node="vnode1")
    with pytest.raises(NotFound, match="'vnode9' is not a node"):
        alice.call("open_line", node="vnode9", queue=alice.queue)
    with pytest.raises(Denied, match="is not yours"):
        alice.call("open_line", node="vnode1", queue=bob.queue)
    for method in ("keep_session", "close_session"):
        with pytest.raises(NotFound, match="is not open"):
            bob.call(method, session=alice.session)
    bob.send(console.DATA, b"evil\n", session=alice.session)
    alice.send(console.DATA, b"nameless\n", user="")
    bob.send_unreadable()
    eventlet.sleep(0.3)  # then the input of others would be lost for a second
    alice.send(console.DATA, b"good\n")
    until(lambda: vm.heard)
    eventlet.sleep(0.2)
    assert vm.heard == b"good\n"


def test_sessions_end_when_the_node_changes_hands(machine, user, amqp_uri, monkeypatch):
    vm, alice = machine(), user()
    alice.open("open_line", node="vnode1")
    tell = event_dispatcher({"AMQP_URI": amqp_uri})
    tell("nodes", "node_wanted", {**wanted(1), "version": 2})  # still hers
    until(lambda: alice.send(console.DATA, b"mine\n") or b"mine" in vm.heard)
    vm.say(b"Debian of alice\n")
    alice.wait(lambda: b"Debian" in alice.data())
    alice.got.clear()
    tell("nodes", "node_wanted", {**wanted(1), "version": 3, "owner": "bob"})
    alice.wait(lambda: alice.exit_status() == 0)
    assert alice.notices() == ["vnode1 has changed hands"]
    alice.send(console.DATA, b"evil\n")
    peers.call(SERVICE, "prepare_line", node_id=1, name="vnode1", owner="bob")
    vm.say(b"secret of bob\n")
    alice.pause(0.5)
    assert (b"evil" in vm.heard, b"secret" in alice.data()) == (False, False)
    with pytest.raises(NotFound, match="is not open"):
        alice.call("keep_session", session=alice.session)
    alice.got.clear()
    with pytest.raises(Conflict, match="vnode1 has changed hands just now"):
        alice.open("open_line", node="vnode1", offset=0)  # allowed just before, as nodes still says here
    monkeypatch.setattr(FakeNodes, "version", 4)  # hers again, and console has not heard of it yet
    alice.got.clear()
    alice.open("open_line", node="vnode1", offset=0)
    tell("nodes", "node_wanted", {**wanted(1), "version": 3, "owner": "bob"})  # late
    alice.wait(lambda: b"secret of bob" in alice.data())
    assert b"Debian" not in alice.data()
    assert "are no longer kept" in alice.notices()[-1]


def test_a_machine_of_a_former_owner_is_neither_seen_nor_driven(machine, user, amqp_uri, monkeypatch):
    vm, alice = machine(), user()
    peers.call(SERVICE, "prepare_line", node_id=1, name="vnode1", owner="bob")
    vm.say(b"secret of bob\n")
    event_dispatcher({"AMQP_URI": amqp_uri})("nodes", "node_wanted", {**wanted(1), "version": 10})
    eventlet.sleep(0.5)
    monkeypatch.setattr(FakeNodes, "version", 10)
    alice.open("open_line", node="vnode1", offset=0)
    alice.send(console.DATA, b"cat /persist/*\n")
    vm.say(b"more of bob\n")
    alice.wait(lambda: "no machine of vnode1 takes input now: it was dropped" in alice.notices())
    peers.call(SERVICE, "prepare_line", node_id=1, name="vnode1", owner="alice")
    vm.say(b"hers\n")
    alice.wait(lambda: b"hers" in alice.data())
    alice.send(console.DATA, b"mine\n")
    until(lambda: b"mine" in vm.heard)
    assert (b"persist" in vm.heard, b"of bob" in alice.data()) == (False, False)


def test_bootloader_steps_and_machine_share_the_line(machine, user):
    vm, viewer = machine(), user()
    viewer.open("open_line", node="vnode1")
    line = peers.call(SERVICE, "prepare_line", node_id=1, name="vnode1")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as runner:
        runner.connect(line["socket"])
        runner.sendall(b"boot in 1 s\n")
        viewer.wait(lambda: viewer.data() == b"boot in 1 s\n")
        viewer.send(console.DATA, b"key")
        until(lambda: vm.heard == b"key")
        runner.settimeout(0.2)
        with pytest.raises(TimeoutError):
            runner.recv(1)
    vm.say(b"kernel\n")
    viewer.wait(lambda: viewer.data() == b"boot in 1 s\nkernel\n")
    with open(line["log"], "ab") as appended:
        appended.write(b"late step\n")
    viewer.wait(lambda: viewer.data().endswith(b"kernel\nlate step\n"))
    with open(line["log"], "rb") as log:
        assert log.read() == viewer.data()


def test_only_the_machines_user_reaches_the_line(service):
    line = peers.call(SERVICE, "prepare_line", node_id=1, name="vnode1")
    for path in line.values():
        status = os.stat(path)
        assert (status.st_uid, status.st_mode & 0o777) == (VM_UID, 0o600)
    script = f"import os, socket, sys; os.setuid(int(sys.argv[1])); socket.socket(1).connect({line['socket']!r})"
    assert subprocess.run([sys.executable, "-c", script, str(VM_UID)]).returncode == 0
    other = subprocess.run([sys.executable, "-c", script, "65534"], capture_output=True)
    assert b"PermissionError" in other.stderr


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_restart_of_console_loses_and_doubles_nothing(machine, service, user, how):
    vm, viewer = machine(), user()
    viewer.open("open_line", node="vnode1")
    said, back = [], eventlet.Event()

    def talk():
        while not back.ready():
            said.append(b"line %d\n" % len(said))
            vm.say(said[-1])
            eventlet.sleep(0.01)

    talking = eventlet.spawn(talk)
    viewer.wait(lambda: len(viewer.data()) > 1000)
    service.end(how)
    viewer.pause(0.5)
    service.start()
    wait_until_it_hears(service)
    with pytest.raises(NotFound):
        viewer.call("keep_session", session=viewer.session)
    viewer.open("open_line", node="vnode1", offset=viewer.offset())
    count = len(viewer.got)
    viewer.wait(lambda: len(viewer.got) > count + 10)
    back.send()
    talking.wait()
    viewer.wait(lambda: viewer.data().endswith(said[-1]))
    assert viewer.data() == b"".join(said)
    viewer.send(console.DATA, b"still here\n")
    until(lambda: vm.heard.endswith(b"still here\n"))


def test_burst_of_10_mb_arrives_in_order_with_a_slow_viewer_beside(machine, user):
    vm, fast, slow = machine(), user(), user()
    fast.open("open_line", node="vnode1")
    slow.open("open_line", node="vnode1", listen=False)
    burst = b"".join(b"%09d\n" % number for number in range(1_000_000))
    talking = eventlet.spawn(vm.say, burst)
    fast.wait(lambda: fast.received >= len(burst), 60)
    talking.wait()
    assert fast.data() == burst
    slow.listen()
    slow.wait(lambda: slow.received >= len(burst), 60)
    assert slow.data() == burst


def test_viewer_that_vanishes_ends_its_session(machine, user):
    vm, viewer, other = machine(), user(), user()
    viewer.open("open_line", node="vnode1")
    viewer.close()
    vm.say(b"anybody?\n")

    def is_gone():
        try:
            other.call("keep_session", session=viewer.session)
        except NotFound:
            return True
        return False

    other.wait(is_gone)
    other.open("open_line", node="vnode1")
    other.wait(lambda: other.data() == b"anybody?\n")


def test_removed_node_ends_viewers_and_leaves_no_file(machine, user, amqp_uri, place):
    machine()
    viewer = user()
    viewer.open("open_line", node="vnode1")
    event_dispatcher({"AMQP_URI": amqp_uri})("nodes", "node_removed", {"id": 1, "name": "vnode1", "host": HOST})
    viewer.wait(lambda: viewer.exit_status() == 0)
    assert viewer.notices() == ["vnode1 is removed"]
    until(lambda: not (place / "lines" / "1").exists())


def test_removal_by_another_registry_leaves_the_line(service, amqp_uri, place):
    peers.call(SERVICE, "prepare_line", node_id=78, name="vnode78")
    identity = place / "lines" / "registry"
    until(identity.exists)
    known = identity.read_text()
    identity.write_text("r0")
    try:
        event_dispatcher({"AMQP_URI": amqp_uri})("nodes", "node_removed", {"id": 78, "name": "vnode78", "host": HOST})
        until(lambda: "the removal of vnode78 is let be: " in service.log.read_text())
        assert (place / "lines" / "78" / "line.sock").exists()
    finally:
        identity.write_text(known)


def test_line_of_a_node_removed_meanwhile_is_forgotten_at_start(service, place):
    for number in (1, 77):
        peers.call(SERVICE, "prepare_line", node_id=number, name=f"vnode{number}")
    service.end(signal.SIGKILL)
    service.start()
    until(lambda: not (place / "lines" / "77").exists(), 20)
    assert (place / "lines" / "1" / "line.sock").exists()


# -- shells, pings, connections, commands of services

FAKE_SSH = r"""#!/bin/sh
# As ssh: options, host, --, command. Says what it was given, and runs the command here.
folder=$(dirname "$(echo "$*" | sed 's/.*-i \([^ ]*\).*/\1/')")
echo "$folder $$ $(stat -c %a "$folder/key") $(cat "$folder/known_hosts")" > "$(dirname "$0")/ssh.seen"
while [ $# -gt 0 ] && [ "$1" != "--" ]; do shift; done
[ "$1" = "--" ] && shift
case "$*" in *unreachable) echo "connect to host: no route" >> "$folder/said"; exit 255 ;; esac
if [ $# -eq 0 ]; then exec sh -i; fi
exec sh -c "$*"
"""


@pytest.fixture
def ssh(place):
    (place / "ssh").write_text(FAKE_SSH)
    os.chmod(place / "ssh", 0o755)
    yield place / "ssh.seen"
    for name in ("ssh", "ssh.seen"):
        (place / name).unlink(missing_ok=True)


def test_ping_tells_its_words_and_status(service, user):
    one = user()
    one.open("open_ping", node="vnode2", count=1)  # it need not be booted
    one.wait(lambda: one.exit_status() is not None)
    assert one.exit_status() == 0
    assert b"1 packets transmitted, 1 received" in one.data("out")


SILENT = """
ip link add br9 type bridge && ip address add 192.0.2.1/24 dev br9 && ip link set br9 up
ip neighbour replace 192.0.2.9 lladdr 02:00:00:00:00:09 dev br9
exec "$@"
"""


def test_a_node_that_is_off_gets_as_many_pings_as_were_asked():
    argv = ["unshare", "--net", "sh", "-c", SILENT, "sh", *rules.ping_argv("192.0.2.9", 1)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "1 packets transmitted, 0 received" in done.stdout


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("open_ping", {"count": 0}),
        ("open_ping", {"count": "ten"}),
        ("open_forward", {"port": 0}),
        ("open_forward", {"port": 70000}),
        ("open_forward", {"port": "ssh"}),
    ],
)
def test_bad_pings_and_ports(service, user, method, given):
    with pytest.raises(InvalidRequest):
        user().open(method, node="vnode1", **given)


@pytest.fixture
def listener():
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener


def connect(one, listener):
    one.open("open_forward", node="vnode1", port=listener.getsockname()[1])
    with eventlet.Timeout(10):
        near, _ = listener.accept()
    return near


def ended(one):
    return console.END_OF_INPUT in [kind for kind, _, _ in one.got]


def test_connection_carries_bytes_and_each_direction_ends_by_itself(service, user, listener):
    data = bytes(range(256)) * 4
    one = user()
    with contextlib.closing(connect(one, listener)) as near:
        one.send(console.DATA, data)
        assert near.recv(len(data), socket.MSG_WAITALL) == data
        near.sendall(b"from the node")
        near.shutdown(socket.SHUT_WR)
        one.wait(lambda: ended(one))
        assert one.data() == b"from the node"
        assert one.exit_status() is None
        one.send(console.DATA, b"more")
        one.send(console.END_OF_INPUT)
        assert near.recv(100, socket.MSG_WAITALL) == b"more"
        one.wait(lambda: one.exit_status() is not None)
    assert one.exit_status() == 0
    assert one.notices() == []


def test_connection_that_is_refused_or_broken_is_told(service, user, listener):
    one = user()
    near = connect(one, listener)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    near.close()
    one.wait(lambda: one.exit_status() is not None)
    port = listener.getsockname()[1]
    assert one.notices() == [f"port {port} of vnode1 broke the connection: Connection reset by peer"]
    listener.close()
    two = user()
    two.open("open_forward", node="vnode1", port=port)
    two.wait(lambda: two.exit_status() is not None)
    assert two.exit_status() == 1
    assert two.notices() == [f"port {port} of vnode1 does not answer: Connection refused"]


def test_connection_ends_with_its_session(service, user, listener):
    one = user()
    with contextlib.closing(connect(one, listener)) as near:
        one.call("close_session", session=one.session)
        with eventlet.Timeout(5), pytest.raises(ConnectionResetError):
            green_os.read(near.fileno(), 10)


def test_input_that_the_node_does_not_take_is_bounded(service, user, listener):
    one = user()
    with contextlib.closing(connect(one, listener)):
        for _ in range(1000):
            one.send(console.DATA, b"x" * 16_384)
        one.wait(lambda: one.exit_status() is not None)
    assert "bytes of input were waiting to be taken" in one.notices()[0]


def test_what_nodes_forbids_is_refused(service, user):
    for method, given in (("open_forward", {"port": 1}), ("open_ping", {})):
        with pytest.raises(NotOwner):
            user("bob").open(method, node="vnode1", **given)


def run_command(*words, timeout_s=5):
    return peers.call(SERVICE, "run_command", 1, list(words), timeout_s, timeout_s=20)


def test_command_of_a_service(service, ssh, place):
    end = run_command("echo out; echo err >&2; exit 3")
    assert (end["status"], sorted(end["output"].split())) == (3, ["err", "out"])
    assert len(run_command("seq 100000")["output"]) == console.COMMAND_OUTPUT_CHARS
    begin = time.monotonic()
    with pytest.raises(Failed, match="'sleep 60' on 127.0.0.1: no end within 0.5 s"):
        run_command("sleep 60", timeout_s=0.5)
    assert time.monotonic() - begin < 5
    with pytest.raises(Failed, match="no route"):
        run_command("unreachable")
    with pytest.raises(InvalidRequest):
        run_command("true", timeout_s=-1)
    assert not is_alive(int(ssh.read_text().split()[1]))
    assert not list((place / "run" / "console").glob("ssh-*"))


def test_command_has_two_streams_and_a_status(service, ssh, user):
    one = user()
    one.open("open_shell", node="vnode1", command=["echo out; echo err >&2; exit 7"])
    one.wait(lambda: one.exit_status() is not None)
    assert (one.data("out"), one.data("err"), one.exit_status()) == (b"out\n", b"err\n", 7)
    folder, _, mode, *known = ssh.read_text().split()
    assert (mode, known) == ("600", ["node", "ssh-ed25519", "AAAA"])
    until(lambda: not Path(folder).exists())


def test_words_of_a_command_may_be_any_bytes(service, ssh, user):
    one = user()
    one.open("open_shell", node="vnode1", command=["printf", "%s", os.fsdecode(b"'\xe4\xff'")])
    one.wait(lambda: one.exit_status() == 0)
    assert one.data("out") == b"\xe4\xff"


def test_command_killed_by_a_signal(service, ssh, user):
    one = user()
    one.open("open_shell", node="vnode1", command=["kill -TERM $$"])
    one.wait(lambda: one.exit_status() is not None)
    assert one.exit_status() == 128 + signal.SIGTERM


def test_what_ssh_said_is_told(service, ssh, user):
    one = user()
    one.open("open_shell", node="vnode1", command=["unreachable"])
    one.wait(lambda: one.exit_status() == 255)
    assert one.notices() == ["connect to host: no route"]


def test_missing_ssh_is_told(service, user):
    one = user()
    one.open("open_shell", node="vnode1", command=["true"])
    one.wait(lambda: one.exit_status() is not None)
    assert one.exit_status() == 127
    assert b"ssh" in one.data("err")


def test_standard_input_of_a_command_in_bulk(service, ssh, user):
    one = user()
    one.open("open_shell", node="vnode1", command=["cat"])
    bulk = random.Random(2).randbytes(3_000_000)
    sent = 0
    while sent < len(bulk):
        taken = max([0, *(int(body) for kind, body, _ in one.got if kind == console.TAKEN)])
        if sent - taken < console.INPUT_WINDOW:
            one.send(console.DATA, bulk[sent : sent + 16_384])
            sent += 16_384
        else:
            one.pause(0.05)
    one.send(console.END_OF_INPUT)
    one.wait(lambda: one.exit_status() == 0, 30)
    assert one.data("out") == bulk


def test_input_that_nobody_takes_is_bounded(service, ssh, user):
    one, other = user(), user()
    one.open("open_shell", node="vnode1", command=["sleep 100"])
    until(ssh.exists)
    pid = int(ssh.read_text().split()[1])
    for _ in range(100):
        one.send(console.DATA, bytes(16_384))
    one.wait(lambda: one.exit_status() == 255)
    assert "bytes of input were waiting" in one.notices()[0]
    until(lambda: not is_alive(pid))
    other.open("open_shell", node="vnode1", command=["cat"])
    other.send(console.DATA, b"not held up")
    other.wait(lambda: other.data() == b"not held up")


def test_terminal_has_a_size_and_takes_a_new_one(service, ssh, user):
    one = user()
    terminal = {"term": "vt100", "rows": 30, "columns": 100}
    one.open(
        "open_shell",
        node="vnode1",
        command=["trap 'stty size' WINCH; stty size; echo $TERM; while :; do read x; done"],
        terminal=terminal,
    )
    one.wait(lambda: b"30 100\r\nvt100\r\n" in one.data())
    one.send(console.RESIZE, b"40 120")
    one.send(console.DATA, b"\n")
    one.wait(lambda: b"40 120\r\n" in one.data())
    one.send(console.RESIZE, b"nonsense")
    one.wait(lambda: one.notices())
    assert "is not a size" in one.notices()[0]


def test_shell_on_a_terminal(service, ssh, user):
    one = user()
    one.open("open_shell", node="vnode1", terminal={"term": "vt100", "rows": 24, "columns": 80})
    one.send(console.DATA, b"echo $((6*7)); tty; cat; exit 3\n")
    one.wait(lambda: b"/dev/pts/" in one.data())
    one.send(console.END_OF_INPUT)
    one.wait(lambda: one.exit_status() == 3)
    assert b"42\r\n" in one.data() and b"/dev/pts/" in one.data()


def test_node_not_booted_is_a_conflict(service, ssh, user):
    with pytest.raises(Conflict, match="vnode2 is booting"):
        user().open("open_shell", node="vnode2")


@pytest.mark.parametrize(
    "given", [{"command": []}, {"command": ["a\0"]}, {"terminal": {"term": "x", "rows": 0, "columns": 1}}]
)
def test_bad_requests(service, ssh, user, given):
    with pytest.raises(InvalidRequest, match="allowed"):
        user().open("open_shell", node="vnode1", **given)


def memory_bytes(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) * 1024


@pytest.mark.parametrize("terminal", [None, {"term": "vt100", "rows": 24, "columns": 80}])
def test_endless_output_is_bounded_and_ends_with_its_client(service, ssh, user, terminal):
    one, other = user(), user()
    one.open("open_shell", node="vnode1", command=["yes endless"], terminal=terminal, listen=False)
    until(ssh.exists)
    eventlet.sleep(1)  # it fills what there is to fill
    pid = int(ssh.read_text().split()[1])
    assert is_alive(pid)
    before = memory_bytes(service.process.pid)
    other.open("open_shell", node="vnode1", command=["echo others go on"])
    other.wait(lambda: other.exit_status() == 0)
    eventlet.sleep(1)
    assert memory_bytes(service.process.pid) - before < 10_000_000
    one.listen()
    one.wait(lambda: len(one.got) > 50)
    waiting = one.channel.queue_declare(one.queue, passive=True).message_count
    assert waiting * 16_384 < 8_000_000
    one.close()
    until(lambda: not is_alive(pid))


@pytest.mark.parametrize("how", ["close_session", signal.SIGKILL, signal.SIGTERM])
def test_child_ends_with_its_session_and_with_console(service, ssh, user, how):
    one = user()
    one.open("open_shell", node="vnode1", command=["trap '' HUP TERM; sleep 300; sleep 300"])
    until(ssh.exists)
    pid = int(ssh.read_text().split()[1])
    if how == "close_session":
        one.call(how, session=one.session)
    else:
        service.end(how)
    until(lambda: not is_alive(pid))


def test_session_that_is_not_kept_is_closed(amqp_uri, peers_of_console, place, ssh, user, monkeypatch):
    """In this process, to shorten the time."""
    from services.console import sessions
    from services.console.__main__ import load
    from services.kit.environment import environment

    monkeypatch.setattr(console, "LOST_AFTER_S", 2)
    monkeypatch.setattr(sessions, "REAP_EVERY_S", 0.2)
    for name, value in {
        "HOST": HOST,
        "LINES_DIR": place / "lines",
        "RUN_DIR": place / "run",
        "SSH": place / "ssh",
    }.items():
        monkeypatch.setenv(f"WALT_{name}", str(value))
    container = ServiceContainer(load(environment()), {"AMQP_URI": amqp_uri})
    container.start()
    try:
        kept, lost = user(), user()
        for one in (kept, lost):
            one.open("open_shell", node="vnode1", command=["sleep 300"])
        end = time.monotonic() + 3
        while time.monotonic() < end:
            kept.call("keep_session", session=kept.session)
            eventlet.sleep(0.3)
        with pytest.raises(NotFound):
            lost.call("keep_session", session=lost.session)
        kept.call("close_session", session=kept.session)
    finally:
        container.stop()


def test_metrics_count_bytes_sessions_and_lines(machine, service, user):
    machine().say(b"x" * 1000)
    viewer = user()
    viewer.open("open_line", node="vnode1")
    viewer.wait(lambda: viewer.received == 1000)
    with urllib.request.urlopen(f"http://127.0.0.1:{service.env['WALT_METRICS_PORT']}/metrics", timeout=5) as page:
        lines = page.read().decode().splitlines()
    values = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}
    assert values['walt_console_bytes_total{direction="out"}'] >= 1000
    assert values['walt_console_sessions{kind="viewer"}'] >= 1
    assert values["walt_console_lines"] == 1
    assert values['walt_entrypoint_calls_total{entrypoint="open_line"}'] >= 1
