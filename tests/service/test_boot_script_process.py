"""The process of a boot script: what it may do, how it ends, and that nothing it sends is believed."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
import time
from pathlib import Path

import pytest

from services.vmrunner.boot import script_runner
from services.vmrunner.boot.origin import origin_of
from services.vmrunner.boot.script_host import Budget, Fetched, ScriptHost
from services.vmrunner.boot.script_parser import ScriptError
from services.vmrunner.boot.script_runner import run_script
from walt.contracts.errors import Failed

pytestmark = pytest.mark.usefixtures("as_root")

UID = 2013265925
BASE = "http://10.0.0.1/boot/5/"
START = BASE + "script.ipxe"
KERNEL = Fetched(Path("/kernel"), 2_800_000)


class Server:
    def __init__(self, script):
        self.script = script

    def text(self, url, on_progress):
        return f"#!ipxe\n{self.script}"

    def file(self, url, on_progress):
        if not url.endswith("vmlinuz?node_ip=10.0.0.2"):
            raise Failed(f"{url}: 404 Not Found")
        return KERNEL


class Superseded(Exception):
    pass


class Run:
    """Of a script, or of a program in the place of its interpreter. printed: by it."""

    def __init__(self, monkeypatch):
        self.printed = []
        self.superseded = threading.Event()
        self._monkeypatch = monkeypatch

    def __call__(self, script="", program="", budget=None):
        if program:
            self._monkeypatch.setattr(script_runner, "PROGRAM", "intruder")
            self._monkeypatch.setattr(script_runner, "CHECKOUT", self._written(program))
        host = ScriptHost(
            Server(script), origin_of(START, 5, "10.0.0.2"), self.printed.append, self._still_wanted, budget
        )
        return run_script(host, UID, START, {"ip": "10.0.0.2"})

    def _still_wanted(self):
        if self.superseded.is_set():
            raise Superseded

    def _written(self, program):
        (self.folder / "intruder.py").write_text(PREAMBLE + program)
        return self.folder


PREAMBLE = f"""
import os, socket, sys, time
sys.path.insert(0, {os.getcwd()!r})
from services.vmrunner.boot import script_process
from services.vmrunner.boot.script_process import receive, send
script_process.give_up_rights(int(sys.argv[1]), script_process.LIMITS)
receive()
"""


@pytest.fixture
def run(monkeypatch, tmp_path):
    made = Run(monkeypatch)
    made.folder = tmp_path
    made.children_before = children()
    return made


def children():
    """PIDs of the processes that this one has started: also of a broker that all tests share."""
    return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))


def test_a_script_boots_what_it_has_fetched(run):
    files = run("echo hello ${ip}\nkernel nowhere || kernel vmlinuz ip=${ip}\nboot")
    assert (files.kernel, files.command_line, files.initrd, files.root) == (KERNEL, "ip=10.0.0.2", None, None)
    assert "".join(run.printed) == (
        f"{START} ... ok\nhello 10.0.0.2\n"
        f"{BASE}nowhere ... failed: {BASE}nowhere?node_ip=10.0.0.2: 404 Not Found\n{BASE}vmlinuz ... ok 2.8 MB\n"
    )
    with pytest.raises(ScriptError, match="line 2, kernel: http://10.0.0.9/x: a boot script may fetch from 10.0.0.1"):
        run("kernel http://10.0.0.9/x")
    assert not children() - run.children_before


def test_it_has_no_right_and_opens_and_starts_nothing(run):
    """It prints what it could do."""
    run(
        program="""
def tried(name, action):
    try:
        action()
        send("say", text=name)
    except (OSError, ValueError):
        return
    receive()
tried("file", lambda: open("/etc/hostname"))
tried("socket", lambda: socket.socket())
tried("pipe", os.pipe)
tried("process", os.fork)
tried("root", lambda: os.setuid(0))
tried("memory limit", lambda: script_process.resource.setrlimit(script_process.resource.RLIMIT_AS, (2**40, 2**40)))
tried("signal", lambda: os.kill(os.getppid(), 0))
send("say", text=f"uid {os.getresuid()} gid {os.getresgid()} {os.getgroups()} {sorted(os.environ)}")
receive()
send("file", url="http://10.0.0.1/boot/5/vmlinuz")
receive()
send("boot", kernel=0, initrd=None, root=None, command_line="")
"""
    )
    assert "".join(run.printed) == f"uid {(UID,) * 3} gid {(UID,) * 3} [] ['LANG', 'PYTHONPATH']"


FLOOD = "while True:\n    send({!r}, {})\n    receive()"


@pytest.mark.parametrize(
    ("program", "fault"),
    [
        (FLOOD.format("say", "text='x' * 4000"), "prints more than 262144 characters"),
        (FLOOD.format("say", "text=''"), "prints more than 262144 characters"),
        (FLOOD.format("text", "url='http://10.0.0.1/boot/5/x'"), "fetches more than 64 files"),
        ("while True: pass", "has run for 1 s"),
        ("time.sleep(1000)", "has run for 1 s"),
        ("send('boot', kernel=0, initrd=None, root=None, command_line='')", "boots a file that it has not fetched"),
        ("send('boot', kernel=-1, initrd=None, root=None, command_line='')", "boots a file that it has not fetched"),
        ("send('boot', kernel='/etc/shadow', initrd=None, root=None, command_line='')", "sends what it should not"),
        (
            "send('file', url='http://10.0.0.1/boot/5/vmlinuz')\nreceive()\n"
            "send('boot', kernel=0, initrd=None, root=None, command_line='a\\0b')",
            "a command line that no kernel takes",
        ),
        ("send('text', url=5)", "sends what it should not"),
        ("send('say')", "sends what it should not"),
        ("send('file', path='/etc/shadow')", "sends what it should not"),
        ("send('open', url='/etc/shadow')", "'open' is not a request"),
        ("send('fail')", "sends what it should not"),
        ("print('hello', flush=True)\nreceive()", "what is no message"),
        ("print('[' * 100_000, flush=True)\nreceive()", "what is no message"),
        ("print('[]', flush=True)\nreceive()", "what is no message"),
        ("send('say', text='\\ud800')", "what is no message"),
        ("send('fail', reason='x' * 100_000)", "^x{2000}$"),
        ("print('x' * 1_000_000, flush=True)\nreceive()", "a message of more than 262144 bytes"),
        ("x = ['x' * 2**20 for _ in range(1000)]", "ended: status 1: MemoryError"),
        ("raise SystemExit(3)", "ended: status 3"),
        ("os.kill(os.getpid(), 9)", "ended: SIGKILL"),
        ("os.close(0)\nos.close(1)\nwhile True: pass", "it closed its connection"),
    ],
)
def test_what_a_process_that_was_taken_over_sends(run, program, fault):
    with pytest.raises(ScriptError, match=fault):
        run(program=program, budget=Budget(seconds=1) if "1 s" in fault else None)
    assert not children() - run.children_before


@pytest.mark.parametrize("program", ["", "while True: pass"])
def test_a_newer_spec_ends_it_at_any_step(run, program):
    threading.Timer(0.7, run.superseded.set).start()
    began = time.monotonic()
    with pytest.raises(Superseded):
        run("sleep 1000", program=program)
    assert time.monotonic() - began < 4 and not children() - run.children_before


def test_a_process_that_uses_much_time_of_a_processor_is_ended(run, monkeypatch):
    with pytest.raises(ScriptError, match="ended: SIGXCPU|ended: SIGKILL"):
        run(program="script_process.resource.setrlimit(script_process.resource.RLIMIT_CPU, (1, 1))\nwhile True: pass")


def test_it_ends_with_vmrunner(tmp_path):
    """Which is killed."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs, tempfile.TemporaryFile() as errors:
            process = script_runner._start(UID, theirs, errors)
        ours.sendall(json.dumps({"url": START, "variables": {}}).encode() + b"\n")
        assert json.loads(ours.recv(1000)) == {"do": "say", "text": f"{START} ... "}
    assert process.wait(10) is not None


def test_its_start_costs_little():
    """About 0.03 s of a processor; here it is only shown to be of that order."""
    before = os.times()
    ours, theirs = socket.socketpair()
    with ours, tempfile.TemporaryFile() as errors:
        with theirs:
            process = script_runner._start(UID, theirs, errors)
        ours.shutdown(socket.SHUT_WR)
        process.wait()
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.5
