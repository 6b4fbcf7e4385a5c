"""The real `walt` process against a real broker and small stand-ins for the services."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from eventlet import patcher

from cli.client import CONNECT_TIMEOUT_S

ROOT = Path(__file__).parents[2]


class Fake:
    """One stand-in process, restartable."""

    def __init__(self, name, folder, amqp_uri):
        self.argv = [sys.executable, "-m", "tests.service.fake_platform", name, str(folder)]
        self.ready = folder / f"{name}.ready"
        self.env = {**os.environ, "WALT_AMQP_URI": amqp_uri, "PYTHONPATH": str(ROOT)}
        self.process = None

    def start(self):
        self.ready.unlink(missing_ok=True)
        self.process = subprocess.Popen(self.argv, cwd=ROOT, env=self.env)
        wait_for(self.ready.exists, 20)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Walt:
    """The command as a person of that name would run it."""

    def __init__(self, uri, folder):
        config = folder / "client.toml"
        config.write_text(f'amqp_uri = "{uri}"\n')
        self.env = {**os.environ, "WALT_CONFIG": str(config), "PYTHONPATH": str(ROOT)}

    def argv(self, *words):
        return [sys.executable, "-m", "cli", *words]

    def __call__(self, *words, stdin=b"", timeout=30):
        return subprocess.run(
            self.argv(*words), cwd=ROOT, env=self.env, input=stdin, capture_output=True, timeout=timeout, check=False
        )

    def start(self, *words, **options):
        return subprocess.Popen(self.argv(*words), cwd=ROOT, env=self.env, **options)

    @contextlib.contextmanager
    def on_terminal(self, *words):
        """(process, master side of its terminal)"""
        master, slave = pty.openpty()
        process = self.start(*words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        try:
            yield process, master, slave
        finally:
            process.kill()
            process.wait()
            os.close(master)
            os.close(slave)


# A relay runs beside the test, which blocks in select and wait: real threads and sockets, not eventlet's.
threading, sockets = patcher.original("threading"), patcher.original("socket")


class Relay:
    """A way to the broker that can be cut, or get stuck: connections stay and carry nothing."""

    def __init__(self, port):
        self.flowing = threading.Event()
        self.flowing.set()
        self.to = ("127.0.0.1", port)
        self.listener = sockets.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.ends = []
        self.spawn(self.serve)

    def spawn(self, function, *arguments):
        threading.Thread(target=function, args=arguments, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = sockets.create_connection(self.to)
                self.ends += [near, far]
                self.spawn(self.copy, near, far)
                self.spawn(self.copy, far, near)

    def copy(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.flowing.wait()
                sink.sendall(data)

    def cut(self):
        while self.ends:
            end = self.ends.pop()
            with contextlib.suppress(OSError):
                end.shutdown(sockets.SHUT_RDWR)
            end.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(sockets.SHUT_RDWR)
        self.listener.close()
        self.flowing.set()
        self.cut()


def wait_for(condition, limit_s):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def until_connected(process):
    """`walt` is past its start, and asks the platform."""
    descriptors = Path(f"/proc/{process.pid}/fd")
    wait_for(lambda: any(os.readlink(one).startswith("socket:") for one in descriptors.iterdir()), 15)


def read_until(descriptor, wanted, limit_s=15):
    data, end = b"", time.monotonic() + limit_s
    while wanted not in data:
        ready, _, _ = select.select([descriptor], [], [], max(0, end - time.monotonic()))
        assert ready, f"no {wanted!r} in {data!r}"
        chunk = os.read(descriptor, 65536)
        assert chunk, f"no {wanted!r} in {data!r}"
        data += chunk
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("platform")


@pytest.fixture(scope="module")
def fakes(folder, broker_port, vhost):
    uri = f"amqp://walt-services:secret@127.0.0.1:{broker_port}/{vhost}"
    fakes = {name: Fake(name, folder, uri) for name in ("nodes", "bootserver", "console")}
    try:
        for fake in fakes.values():
            fake.start()
        yield fakes
    finally:
        for fake in fakes.values():
            if fake.process:
                fake.kill()


@pytest.fixture
def walt(fakes, user_uri, tmp_path):
    return Walt(user_uri("alice"), tmp_path)


@pytest.fixture
def vnode(walt, request):
    """A booted node of alice, its name that of the test."""
    name = request.node.name.split("[")[0].replace("_", "-")[:60]
    assert walt("node", "create", name, "--wait").returncode == 0
    return name


# --- commands -----------------------------------------------------------------------------------------------


CONFIG = b"cpu.cores=4\nnetworks=walt-net,home-net[lat=10ms]\nram=%s\n"


def test_create_show_config_remove(walt):
    created = walt("node", "create", "a1", "a2", "--wait")
    assert (created.returncode, created.stdout, created.stderr) == (0, b"", b"a1, a2: created\n")
    shown = json.loads(walt("node", "show", "a1", "-o", "json").stdout)
    assert shown[0]["state"] == "booted"
    assert {"name", "owner", "since", "reason", "type", "ip", "mac", "image", "host", "config"} <= shown[0].keys()
    changed = walt("node", "config", "a1", "ram=1G")
    assert (changed.returncode, changed.stdout) == (0, b"")
    assert changed.stderr == b"a1: configured\ntakes effect at the next boot\n"
    assert walt("node", "config", "a1").stdout == CONFIG % b"1G"
    both = b"# a1\n" + CONFIG % b"1G" + b"# a2\n" + CONFIG % b"512M"
    assert walt("node", "config", "a1,a2").stdout == walt("device", "config", "a1,a2").stdout == both
    assert walt("node", "remove", "a1,a2").returncode == 0
    assert walt("node", "show", "a1").returncode == 3


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["node", "show", "nobody,none"], 3, b"walt: there is no node 'nobody'\nwalt: there is no node 'none'\n"),
        (["node", "frobnicate"], 2, b"walt: No such command 'frobnicate'. Allowed: acquire, "),
        (["node", "wait", "x", "--timeout", "-1"], 2, b"--timeout"),
        (["node", "create", "crash"], 1, b"internal error in the platform (RuntimeError: a defect)"),
        (["node", "config", "nobody", "rma=1G"], 2, b"'rma' is not a setting; allowed: cpu.cores, ram\n"),
        *(
            (["node", *words], 2, b"' is a node set; allowed here: the name of one node, not a set\n")
            for words in (
                ["shell", "my-nodes"],
                ["console", "a,b"],
                ["cp", "ALL-nodes:/etc/hosts", "."],
                ["ping", "free-nodes"],
                ["expose", "a,b", "22", "0"],
            )
        ),
        (["node", "expose", "a", "x", "80"], 2, b"'x' is not accepted; allowed: a whole number from 1 to 65535"),
        (
            ["node", "expose", "a", "80", "65536"],
            2,
            b"'65536' is not accepted; allowed: a whole number from 0 to 65535",
        ),
        (["node", "ping", "a", "--count", "0"], 2, b"'0' is not accepted; allowed: a whole number from 1 to 3600"),
        (["help", "consle"], 3, b"no help on 'consle' (did you mean console?); there is help on: boot, "),
    ],
)
def test_errors_are_sentences_with_exit_codes(walt, words, status, said):
    done = walt(*words)
    assert (done.returncode, done.stdout) == (status, b"")
    assert said in done.stderr
    assert b"Traceback" not in done.stderr


def test_somebody_elses_node_is_refused(walt, vnode, user_uri, tmp_path):
    done = Walt(user_uri("bob"), tmp_path)("node", "reboot", vnode)
    assert (done.returncode, done.stderr) == (4, f"walt: {vnode} belongs to alice\n".encode())


def test_wrong_password_is_denied(walt, user_uri, tmp_path):
    done = Walt(user_uri("alice").replace("secret", "guess"), tmp_path)("node", "show")
    assert done.returncode == 5
    assert b"refuses the login of alice" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_method_without_right_is_denied(fakes, user_uri):
    from cli.client import Client
    from cli.configuration import parse_configuration
    from services.contracts.errors import Denied

    client = Client(lambda: parse_configuration(f'amqp_uri = "{user_uri("alice")}"', Path("x")))
    with contextlib.closing(client), pytest.raises(Denied, match="alice may not do this"):
        client.call("nodes", "wanted_on_host", host="local", timeout_s=5)


@pytest.mark.parametrize(
    ("method", "arguments", "error", "said"),
    [
        ("get_nodes", {"selection": "my-nodes", "newest": 1}, "Failed", "of different versions: .*newest"),
        ("get_everything", {}, "Denied", "or the platform is too old for it"),
    ],
)
def test_platform_of_another_version_is_told(fakes, user_uri, method, arguments, error, said):
    from cli.client import Client
    from cli.configuration import parse_configuration
    from services.contracts import errors

    client = Client(lambda: parse_configuration(f'amqp_uri = "{user_uri("alice")}"', Path("x")))
    with contextlib.closing(client), pytest.raises(getattr(errors, error), match=said):
        client.call("nodes", method, **arguments)


def test_broker_down_is_unreachable(walt, tmp_path):
    done = Walt("amqp://alice:secret@127.0.0.1:1/x", tmp_path)("node", "show")
    assert done.returncode == 6
    assert done.stderr.startswith(b"walt: the broker at 127.0.0.1:1 does not answer")
    assert done.stderr.count(b"\n") == 1


def test_service_that_never_ran_is_unreachable(fakes, user_uri):
    from cli.client import Client
    from cli.configuration import parse_configuration
    from services.contracts.errors import Unreachable

    client = Client(lambda: parse_configuration(f'amqp_uri = "{user_uri("alice")}"', Path("x")))
    with contextlib.closing(client), pytest.raises(Unreachable, match="service console@away does not answer"):
        client.call("console@away", "keep_session", session="x")


def test_service_that_is_away_does_not_obey_late(walt, fakes, folder, user_uri):
    from cli.client import Client
    from cli.configuration import parse_configuration
    from services.contracts.errors import Unreachable

    fakes["nodes"].kill()
    try:
        client = Client(lambda: parse_configuration(f'amqp_uri = "{user_uri("alice")}"', Path("x")))
        with contextlib.closing(client), pytest.raises(Unreachable, match="no reply to create_nodes within 1 s"):
            client.call("nodes", "create_nodes", names=["late"], timeout_s=1)
    finally:
        fakes["nodes"].start()
    assert walt("node", "show", "late").returncode == 3


# --- waiting ------------------------------------------------------------------------------------------------


def test_wait_times_out_naming_the_missing(walt):
    walt("node", "create", "quick", "slow1", "bad1")
    done = walt("node", "wait", "quick,slow1,bad1", "--timeout", "1.5")
    assert done.returncode == 124
    assert done.stderr.decode().splitlines() == [
        "bad1 failed: qemu is not installed; still waiting",
        "walt: slow1 is not booted after 1.5 s: delaying (9 s left)",
        "walt: bad1 is not booted after 1.5 s: failed (qemu is not installed)",
    ]


def test_progress_only_on_a_terminal(walt):
    walt("node", "create", "slow6")
    piped = walt("node", "wait", "slow6", "--timeout", "0.5").stderr
    assert piped == b"walt: slow6 is not booted after 0.5 s: delaying (9 s left)\n"
    with walt.on_terminal("node", "wait", "slow6", "--timeout", "1.5") as (process, master, slave):
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 30, 0, 0))
        shown = read_until(master, b"walt: slow6 is not booted")
        assert process.wait(10) == 124
    assert b"slow6 delaying " in shown
    lines = [line for line in re.split(rb"\r(?:\x1b\[K)?", shown) if line.startswith(b"slow6")]
    assert lines and all(len(line) < 30 for line in lines)


def test_wait_ends_when_the_node_is_removed(walt):
    walt("node", "create", "slow2")
    waiting = walt.start("node", "wait", "slow2", stderr=subprocess.PIPE)
    until_connected(waiting)
    walt("node", "remove", "slow2")
    assert waiting.communicate(timeout=10)[1] == b"walt: there is no node 'slow2'\n"
    assert waiting.returncode == 3


def test_wait_outlives_a_restart_of_nodes(walt, fakes):
    walt("node", "create", "slow3")
    with walt.on_terminal("node", "wait", "slow3", "--timeout", "6") as (waiting, master, _):
        read_until(master, b"slow3 delaying")
        fakes["nodes"].kill()
        fakes["nodes"].start()
        read_until(master, b"slow3 is not booted after 6 s", 30)
        assert waiting.wait(10) == 124


def test_interrupt_is_one_line_and_130(walt):
    walt("node", "create", "slow4")
    waiting = walt.start("node", "wait", "slow4", stderr=subprocess.PIPE)
    until_connected(waiting)
    waiting.send_signal(signal.SIGINT)
    assert waiting.communicate(timeout=10)[1] == b"walt: interrupted\n"
    assert waiting.returncode == 130


# --- run and shell ------------------------------------------------------------------------------------------


def test_run_passes_output_and_status(walt, vnode):
    done = walt("node", "run", vnode, "--", "printf 'a\\000b'; echo oops >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"a\0b", b"oops\n")


def test_run_keeps_options_and_dashes_of_the_command(walt, vnode):
    assert walt("node", "run", vnode, "--", "echo", "-n", "--help", "--").stdout == b"--help --"


def test_run_forwards_input_verbatim_whatever_its_size(walt, vnode):
    data = os.urandom(1_500_000)
    assert walt("node", "run", vnode, "--", "cat", stdin=data).stdout == data


def test_run_of_unknown_node(walt):
    assert walt("node", "run", "nobody", "--", "true").returncode == 3


def test_run_into_a_closed_pipe_is_quiet(walt, vnode):
    command = " ".join(walt.argv("node", "run", vnode, "--", "seq 100000"))
    done = subprocess.run(
        ["sh", "-c", f"{command} </dev/null | head -1"], cwd=ROOT, env=walt.env, capture_output=True, timeout=30
    )
    assert (done.stdout, done.stderr) == (b"1\n", b"")


def test_run_without_standard_output_says_nothing_to_the_broker(walt, vnode):
    command = " ".join(walt.argv("node", "run", vnode, "--", "'seq 1000; exit 3'"))
    done = subprocess.run(
        ["sh", "-c", f"{command} <&- >&-"], cwd=ROOT, env=walt.env, stderr=subprocess.PIPE, timeout=30
    )
    assert (done.returncode, done.stderr) == (3, b"")


def test_shell_has_a_window_and_passes_keys_and_status(walt, vnode):
    with walt.on_terminal("node", "shell", vnode) as (process, master, slave):
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        read_until(master, b"window 30x100")
        os.write(master, b"\x01d\x03")  # nothing is special here
        read_until(master, b"data \x01d\x03")
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 90, 0, 0))
        os.kill(process.pid, signal.SIGWINCH)
        read_until(master, b"resize 31 90")
        os.write(master, b"\x04")
        assert process.wait(10) == 7
        assert termios.tcgetattr(slave)[3] & termios.ICANON


# --- console ------------------------------------------------------------------------------------------------


def line_of(folder, node, content):
    (folder / f"{node}.line").write_bytes(content)


def test_console_without_following_prints_and_ends(walt, vnode, folder):
    content = bytes(range(256)) * 500
    line_of(folder, vnode, content)
    done = walt("node", "console", vnode, "--log")
    assert (done.returncode, done.stdout, done.stderr) == (0, content, b"")


def test_console_in_a_pipe_follows_after_end_of_input(walt, vnode, folder):
    line_of(folder, vnode, b"power-on\n")
    viewer = walt.start("node", "console", vnode, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    read_until(viewer.stdout.fileno(), b"power-on\n")
    viewer.stdin.write(b"\x01d")  # no key is special without a terminal
    viewer.stdin.close()
    read_until(viewer.stdout.fileno(), b"<\x01d>")
    with (folder / f"{vnode}.line").open("ab") as line:
        line.write(b"later\n")
    read_until(viewer.stdout.fileno(), b"later\n")
    viewer.send_signal(signal.SIGINT)
    assert viewer.wait(10) == 130
    assert viewer.stderr.read() == b"walt: interrupted\n"


def test_console_keys(walt, vnode, folder):
    line_of(folder, vnode, b"login: ")
    with walt.on_terminal("node", "console", vnode) as (process, master, slave):
        read_until(master, b"login: ")
        os.write(master, b"\x03\x01a")
        read_until(master, b"<\x03\x01>")
        os.write(master, b"x\x01")  # the escape and its key come in two reads
        read_until(master, b"<x>")
        os.write(master, b"?")
        read_until(master, b"ctrl-a d leaves the console")
        os.write(master, b"\x01z")
        read_until(master, b"ctrl-a d leaves the console")
        assert not termios.tcgetattr(slave)[3] & termios.ICANON
        os.write(master, b"\x01")
        time.sleep(0.2)
        os.write(master, b"d")
        assert process.wait(10) == 0
        assert termios.tcgetattr(slave)[3] & termios.ICANON
    assert (folder / f"{vnode}.line").read_bytes() == b"login: <\x03\x01><x>"
    wait_for(lambda: list(folder.glob("closed-*")), 5)


def test_terminal_is_restored_after_sigterm(walt, vnode, folder):
    line_of(folder, vnode, b"login: ")
    with walt.on_terminal("node", "console", vnode) as (process, master, slave):
        read_until(master, b"login: ")
        process.terminate()
        assert process.wait(10) == 143
        assert termios.tcgetattr(slave)[3] & termios.ICANON


def test_read_only_console_sends_nothing(walt, vnode, folder):
    line_of(folder, vnode, b"login: ")
    with walt.on_terminal("node", "console", vnode, "--read-only") as (process, master, _):
        read_until(master, b"login: ")
        os.write(master, b"root")
        read_until(master, b"this console is read-only")
        os.write(master, b"\x01d")
        assert process.wait(10) == 0
    assert (folder / f"{vnode}.line").read_bytes() == b"login: "


def test_console_outlives_its_service(walt, vnode, folder, fakes):
    line_of(folder, vnode, b"one\n")
    viewer = walt.start(
        "node", "console", vnode, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    assert read_until(viewer.stdout.fileno(), b"one\n") == b"one\n"
    fakes["console"].kill()
    while not select.select([viewer.stderr], [], [], 0.2)[0]:
        viewer.stdin.write(b"typed")
    assert b"what was sent to it is lost" in read_until(viewer.stderr.fileno(), b"trying again")
    with (folder / f"{vnode}.line").open("ab") as line:
        line.write(b"two\n")
    fakes["console"].start()
    assert read_until(viewer.stdout.fileno(), b"two\n", 30) == b"two\n"
    viewer.kill()
    viewer.wait()


@pytest.fixture
def relay(broker_port):
    one = Relay(broker_port)
    yield one
    one.close()


@pytest.fixture
def far_walt(fakes, relay, user_uri, broker_port, tmp_path):
    (tmp_path / "far").mkdir()
    return Walt(user_uri("alice").replace(str(broker_port), str(relay.port)), tmp_path / "far")


def test_console_outlives_its_connection(walt, far_walt, relay, vnode, folder):
    line_of(folder, vnode, b"one\n")
    with far_walt.on_terminal("node", "console", vnode) as (process, master, _):
        read_until(master, b"one\n")
        relay.cut()
        with (folder / f"{vnode}.line").open("ab") as line:
            line.write(b"two\n")
        seen = read_until(master, b"is back")
        assert b"is away" in seen
        assert b"one" not in seen + read_until(master, b"two\n")
        os.write(master, b"typed")
        read_until(master, b"<typed>")


def test_broker_that_is_stuck_holds_nobody(walt, far_walt, relay, vnode, folder):
    line_of(folder, vnode, b"one\n")
    viewer = far_walt.start("node", "console", vnode, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    read_until(viewer.stdout.fileno(), b"one\n")
    relay.flowing.clear()
    viewer.send_signal(signal.SIGINT)
    assert viewer.wait(15) == 130


def test_console_that_is_away_can_be_left(far_walt, relay, vnode, folder):
    line_of(folder, vnode, b"one\n")
    with far_walt.on_terminal("node", "console", vnode) as (process, master, _):
        read_until(master, b"one\n")
        relay.close()
        read_until(master, b"is away")
        os.write(master, b"\x01d")
        assert process.wait(10) == 0


def test_wait_outlives_a_lost_connection(walt, far_walt, relay):
    walt("node", "create", "slow5")
    with far_walt.on_terminal("node", "wait", "slow5", "--timeout", "4") as (waiting, master, _):
        read_until(master, b"slow5 delaying")
        relay.cut()
        read_until(master, b"slow5 is not booted after 4 s", 20)
        assert waiting.wait(10) == 124


def test_full_disk_is_a_sentence(walt):
    with open("/dev/full", "wb") as full:
        process = walt.start("node", "show", "--all", "-o", "json", stdout=full, stderr=subprocess.PIPE)
        assert b"No space left on device" in process.communicate(timeout=20)[1]
    assert process.returncode == 1


def test_run_says_when_its_session_is_lost(walt, vnode, fakes, folder):
    before = set(folder.glob("opened-*"))
    running = walt.start("node", "run", vnode, "--", "cat", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: set(folder.glob("opened-*")) > before, 15)
    fakes["console"].kill()
    fakes["console"].start()
    assert running.wait(30) == 1
    assert running.stderr.read() == f"walt: the session on {vnode} is lost: no such session\n".encode()
    running.stdin.close()


# --- orders -------------------------------------------------------------------------------------------------


def test_fault_05_failures_have_exit_codes(walt):
    """Upstream: exit code 0 on most failures."""
    for words, status in (
        (["boot", "nobody", "x"], 3),
        (["config", "nobody"], 3),
        (["create", "dup", "dup"], 4),
        (["run", "nobody", "--", "x"], 3),
    ):
        assert walt("node", *words).returncode == status, words


def test_fault_07_create_takes_everything_at_once(walt):
    """Upstream: one node at a time, settings afterwards plus a reboot."""
    made = walt("node", "create", "new1", "new2", "-c", "ram=1G", "-c", "cpu.cores=2", "--image", "small", "--wait")
    assert made.returncode == 0
    for node in json.loads(walt("node", "show", "new1,new2", "-o", "json").stdout):
        assert (node["state"], node["image"], node["config"]["ram"]) == ("booted", "small", "1G")


def test_fault_09_remove_asks(walt):
    """Upstream: disks are destroyed without asking. Here nobody but a person at a terminal is asked."""
    walt("node", "create", "data1", "data2", "data3")
    refused = walt("node", "remove", "data1", stdin=b"y\n")
    assert (refused.returncode, refused.stdout) == (4, b"")
    assert refused.stderr == b"walt: node 'data1': disk vda holds data (1 MB); --force destroys it\n"
    with walt.on_terminal("node", "remove", "data1") as (process, master, _):
        read_until(master, b"Do it all the same? [y/N]:")
        os.write(master, b"\n")
        read_until(master, b"nothing was changed")
        assert process.wait(10) == 4
    assert walt("node", "show", "data1").returncode == 0
    with walt.on_terminal("node", "remove", "data1") as (process, master, _):
        read_until(master, b"[y/N]:")
        os.write(master, b"y\n")
        read_until(master, b"data1: removed")
        assert process.wait(10) == 0
    assert walt("node", "remove", "data2", "--force").returncode == 0
    with walt.on_terminal("node", "release", "data3") as (process, master, _):
        read_until(master, b"[y/N]:")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    assert [walt("node", "show", name).returncode for name in ("data1", "data2", "data3")] == [3, 3, 0]


def test_fault_28_errors_of_the_platform_are_exit_codes(walt, vnode, user_uri, tmp_path):
    """Upstream: errors of the API are printed, and the exit code is 0."""
    assert walt("node", "create", vnode).returncode == 4
    (tmp_path / "bob").mkdir()
    assert Walt(user_uri("bob"), tmp_path / "bob")("node", "remove", vnode).returncode == 4


def test_fault_31_wait_on_an_unknown_node(walt):
    """Upstream: exit code 0; and waiting for a node that is removed never ends."""
    assert walt("node", "wait", "nobody").returncode == 3
    walt("node", "create", "slow31")
    waiting = walt.start("node", "wait", "slow31", "--for", "stopped", stderr=subprocess.DEVNULL)
    until_connected(waiting)
    walt("node", "remove", "slow31")
    assert waiting.wait(10) == 3


def test_power(walt, vnode):
    assert walt("node", "stop", vnode, "--wait", "--timeout", "5").returncode == 0
    assert json.loads(walt("node", "show", vnode, "-o", "json").stdout)[0]["state"] == "stopped"
    assert walt("node", "wait", vnode, "--timeout", "0.5").returncode == 124
    assert walt("node", "start", vnode, "--wait").returncode == 0
    assert walt("node", "wait", vnode, "--for", "stopped", "--timeout", "0.5").returncode == 124
    assert walt("node", "boot", vnode, "other", "--wait").returncode == 0
    assert walt("node", "reboot", vnode, "--hard", "--wait").returncode == 0


def test_rename(walt, vnode):
    assert walt("node", "rename", vnode, "renamed").stderr == f"renamed: was {vnode}\n".encode()
    assert walt("node", "show", "renamed").returncode == 0
    assert walt("node", "show", vnode).returncode == 3


def test_takeover_is_told_to_the_former_owner(walt, vnode, user_uri, tmp_path):
    (tmp_path / "bob").mkdir()
    bob = Walt(user_uri("bob"), tmp_path / "bob")
    refused = bob("node", "acquire", vnode)
    assert (refused.returncode, refused.stderr) == (
        4,
        f"walt: node '{vnode}' belongs to alice; take it over with --force\n".encode(),
    )
    with bob.on_terminal("node", "acquire", vnode) as (process, master, _):
        read_until(master, b"[y/N]:")
        os.write(master, b"y\n")
        assert process.wait(10) == 0
    shown = walt("node", "show", "-o", "json")
    assert vnode not in {one["name"] for one in json.loads(shown.stdout)}
    assert f"{vnode} was taken over by bob ".encode() in shown.stderr
    assert f" ago (walt log show {vnode})\n".encode() in shown.stderr
    assert bob("node", "show").stderr == b""


def test_save_and_images(walt, vnode):
    saved = walt("node", "save", vnode, "mine")
    assert (saved.returncode, saved.stdout, saved.stderr) == (0, b"", f"alice/mine: saved from {vnode}\n".encode())
    again = walt("node", "save", vnode, "mine")
    assert again.returncode == 4
    assert b"--force replaces it" in again.stderr
    assert walt("node", "save", vnode, "mine", "--force").returncode == 0
    images = json.loads(walt("image", "show", "-o", "json").stdout)
    assert images[1]["name"] == "alice/mine"
    assert walt("image", "show").stdout.splitlines()[0].split() == [b"name", b"owner", b"created", b"size", b"kernel"]


# --- completion ---------------------------------------------------------------------------------------------


def completed(walt, line, **variables):
    env = {**walt.env, "_WALT_COMPLETE": "bash_complete", "COMP_LINE": line, **variables}
    began = time.monotonic()
    done = subprocess.run(walt.argv(), cwd=ROOT, env=env, capture_output=True, timeout=20, check=False)
    return [line.partition(",")[2] for line in done.stdout.decode().split()], done, time.monotonic() - began


def test_completion_of_live_names(walt, user_uri, tmp_path):
    walt("node", "create", "complete1", "complete2")
    assert completed(walt, "walt node reboot comp")[0] == ["complete1", "complete2"]
    assert completed(walt, "walt node reboot complete1,comp")[0] == ["complete1,complete2"]
    assert completed(walt, "walt node shell complete2")[0] == ["complete2"]
    assert "default" in completed(walt, "walt node boot complete1 ")[0]
    assert completed(walt, "walt network link complete1 h")[0] == ["home-net"]
    assert completed(walt, "walt node config complete1 networks=walt-net,h")[0] == ["walt-net,home-net"]
    (tmp_path / "bob").mkdir()
    bob = Walt(user_uri("bob"), tmp_path / "bob")
    assert completed(bob, "walt node reboot comp")[0] == []
    assert completed(bob, "walt node show comp")[0] == ["complete1", "complete2"]


def test_completion_without_a_platform_is_quick_and_silent(walt, tmp_path):
    away = Walt("amqp://alice:secret@127.0.0.1:1/x", tmp_path)
    words, done, _ = completed(away, "walt node reboot ")
    assert (words, done.stderr) == (["my-nodes"], b"")
    with sockets.create_server(("127.0.0.1", 0)) as mute:  # takes connections and says nothing
        silent = Walt(f"amqp://alice:secret@127.0.0.1:{mute.getsockname()[1]}/x", tmp_path)
        words, done, took_s = completed(silent, "walt node reboot ")
    assert (words, done.stderr) == (["my-nodes"], b"")
    assert took_s < CONNECT_TIMEOUT_S, "as long as another command would wait"


def test_doctor(walt):
    done = walt("doctor")
    assert done.returncode == 0
    assert b"warn  accelerator  tcg\n" in done.stdout
    assert b"mend: use KVM" in done.stdout
    assert json.loads(walt("doctor", "-o", "json").stdout)[0]["subject"] == "broker"
