"""The real `walt` and the real console service: run on many nodes, ping, cp, expose. Nodes are folders of this host."""

import contextlib
import filecmp
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from services.contracts import console as contract
from tests.service.test_cli import ROOT, Fake, Walt, read_until, threading, wait_for

pytestmark = pytest.mark.usefixtures("as_root")  # files are given to the user of the machines

# As ssh: what it runs outlives it. The root of every node has HOME as home, which says what nodes cannot be reached.
FAKE_SSH = """#!/bin/sh
folder=$(dirname "$(echo "$*" | sed 's/.*-i \\([^ ]*\\).*/\\1/')")
while [ "$1" != "--" ]; do ip=$1; shift; done
shift
cd HOME || exit 255
if [ -e "unreachable-$ip" ]; then echo "connect to host: no route" >> "$folder/said"; exit 255; fi
PATH=HOME/bin:$PATH exec setsid --wait sh -c "$*"
"""


class Console(Fake):
    """`python -m services.console`"""

    def __init__(self, folder, amqp_uri):
        super().__init__("console", folder, amqp_uri)
        self.argv = [sys.executable, "-m", "services.console"]
        self.env |= {
            "WALT_HOST": "local",
            "WALT_LINES_DIR": str(folder / "lines"),
            "WALT_RUN_DIR": str(folder / "run"),
            "WALT_METRICS_PORT": "0",
            "WALT_VM_UID": "64901",
            "WALT_SSH": str(folder / "ssh"),
        }

    def start(self):
        self.process = subprocess.Popen(self.argv, cwd=ROOT, env=self.env)


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory(prefix="walt-sessions-") as folder:
        os.chmod(folder, 0o711)
        yield Path(folder)


@pytest.fixture(scope="module")
def home(folder):
    """The home of root on every node."""
    home = folder / "home"
    (home / "bin").mkdir(parents=True)
    (folder / "ssh").write_text(FAKE_SSH.replace("HOME", str(home)))
    os.chmod(folder / "ssh", 0o755)
    return home


@pytest.fixture(scope="module")
def uri(broker_port, vhost):
    return f"amqp://walt-services:secret@127.0.0.1:{broker_port}/{vhost}"


@pytest.fixture(scope="module")
def console(folder, home, uri):
    fakes = [Fake("nodes", folder, uri), Fake("bootserver", folder, uri), Console(folder, uri)]
    with contextlib.ExitStack() as stack:
        for fake in fakes:
            fake.start()
            stack.callback(fake.kill)
        yield fakes[-1]


@pytest.fixture(scope="module")
def walt(console, user_uri, folder):
    walt = Walt(user_uri("alice"), folder)
    assert walt("node", "create", "vnode1", "vnode2", "vnode10", "--wait").returncode == 0
    wait_for(lambda: walt("node", "run", "vnode1", "--", "true").returncode == 0, 30)
    return walt


@pytest.fixture
def bob(user_uri, tmp_path):
    return Walt(user_uri("bob"), tmp_path)


def test_another_persons_node_is_refused_without_a_wait_for_its_boot(walt, bob):
    assert walt("node", "create", "slow1").returncode == 0
    begin = time.monotonic()
    for words in (("shell", "slow1"), ("run", "slow1", "--", "true"), ("cp", "slow1:/etc/hostname", ".")):
        done = bob("node", *words, stdin=b"")
        assert done.returncode == 4
        assert b"alice" in done.stderr
    assert time.monotonic() - begin < 20  # it never boots; the usual wait is 300 s


# --- run ----------------------------------------------------------------------------------------------------


def test_fault_6_remote_command_runs_on_all_at_once_with_prefix_and_status(walt):
    meet = "touch here.$$; for n in $(seq 300); do [ $(ls here.* | wc -l) = 3 ] && break; sleep 0.05; done"
    script = f"'{meet}; [ $n = 300 ] && exit 9; echo one; echo oops >&2; printf two; exit 3'"
    done = walt("node", "run", "vnode1,vnode2,vnode10", "--", "sh", "-c", script)
    prefixes = [b"vnode1:  ", b"vnode2:  ", b"vnode10: "]
    assert sorted(done.stdout.splitlines()) == sorted(p + word for p in prefixes for word in (b"one", b"two"))
    said = done.stderr.splitlines()
    assert sorted(said[:3]) == sorted(p + b"oops" for p in prefixes)
    assert said[3:] == [b"vnode1: exit status 3", b"vnode2: exit status 3", b"vnode10: exit status 3"]
    assert done.returncode == 3


def test_run_on_several_nodes_keeps_lines_whole(walt):
    done = walt("node", "run", "vnode1,vnode2", "--", "seq 20000; cat")
    assert done.returncode == 0
    for node in (b"vnode1: ", b"vnode2: "):
        mine = [line.removeprefix(node) for line in done.stdout.splitlines() if line.startswith(node)]
        assert mine == [b"%d" % number for number in range(1, 20001)]


def test_node_that_cannot_be_reached_does_not_stop_the_others(walt, home):
    (home / "unreachable-127.0.0.2").touch()
    done = walt("node", "run", "vnode1,vnode2,vnode10", "--", "echo done")
    (home / "unreachable-127.0.0.2").unlink()
    assert sorted(done.stdout.splitlines()) == [b"vnode10: done", b"vnode1:  done"]
    assert done.stderr == b"vnode2:  connect to host: no route\n"
    assert done.returncode == 1


def test_run_on_a_set_with_a_foreign_node(walt, bob):
    assert bob("node", "create", "theirs", "--wait").returncode == 0
    done = walt("node", "run", "vnode1,theirs", "--", "echo hello")
    assert done.stdout == b"vnode1: hello\n"
    assert done.stderr == b"theirs: theirs belongs to bob; alice may not log in to it\n"
    assert done.returncode == 1


def test_ctrl_c_ends_all(walt, home):
    running = walt.start("node", "run", "vnode1,vnode2", "--", "echo $$ > pid.$$; sleep 1000", stderr=subprocess.PIPE)
    wait_for(lambda: len(list(home.glob("pid.*"))) == 2, 15)
    running.send_signal(signal.SIGINT)
    assert running.wait(15) == 130
    assert running.stderr.read() == b"walt: interrupted\n"
    wait_for(lambda: not any(Path("/proc", one.name.split(".")[1]).exists() for one in home.glob("pid.*")), 15)


# --- ping ---------------------------------------------------------------------------------------------------


def test_ping(walt, bob):
    done = walt("node", "ping", "vnode1", "--count", "1")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"1 packets transmitted, 1 received" in done.stdout
    assert bob("node", "ping", "vnode1", "--count", "1").returncode == 0  # anybody may
    assert walt("node", "ping", "vnode1", "--count", "0").returncode == 2
    assert walt("node", "ping", "nobody").returncode == 3


# --- console ------------------------------------------------------------------------------------------------

ESCAPES = b"\x1b]0;__import__('os').system('touch evil')\x07\x1b[2J\x1bc{7*7} $(touch evil) \x00\x9c\r\n"


def test_fault_22_console_passes_bytes_and_never_evaluates_them(walt, bob, folder):
    number = 1 + ["vnode1", "vnode2", "vnode10"].index("vnode10")
    viewer = walt.start("node", "console", "vnode10", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        line = folder / "lines" / str(number) / "line.log"
        wait_for(line.exists, 15)
        with line.open("ab") as file:
            file.write(ESCAPES)
        assert read_until(viewer.stdout.fileno(), ESCAPES) == ESCAPES
    finally:
        viewer.kill()
        viewer.wait()
    log = walt("node", "console", "vnode10", "--log")  # scrollback: what came before we looked
    assert (log.returncode, log.stdout, log.stderr) == (0, ESCAPES, b"")
    assert not list(ROOT.glob("evil"))
    refused = bob("node", "console", "vnode10", "--log")
    assert refused.returncode == 4
    with walt.on_terminal("node", "console", "vnode10", "--read-only") as (_, master, _):
        read_until(master, b"ctrl-a d leaves")
        os.write(master, b"x")
        read_until(master, b"read-only")
        os.write(master, b"\x01d")
        read_until(master, b"left the console")
    assert line.read_bytes() == ESCAPES


def test_fault_35_label_of_the_wait_tells_the_truth_about_ctrl_c(walt):
    walt("node", "create", "slow1")
    with walt.on_terminal("node", "run", "slow1", "--", "true") as (process, master, _):
        read_until(master, b"waiting for slow1 to be booted; ctrl-c ends the wait")
        os.write(master, b"\x03")
        process.send_signal(signal.SIGINT)  # the test's terminal is not the controlling one
        assert process.wait(15) == 130
    assert b'"state": "delaying"' in walt("node", "show", "slow1", "-o", "json").stdout  # the node was left alone
    walt("node", "remove", "slow1")


# --- cp -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["gnu", "busybox"])
def tools(request, home):
    """What the node has in its PATH."""
    names = ("sh", "tar", "mktemp", "mv", "rm", "readlink", "dirname", "basename")
    if request.param == "busybox":
        for name in names:
            (home / "bin" / name).symlink_to("/usr/bin/busybox")
    yield
    for one in (home / "bin").iterdir():
        one.unlink()


@pytest.fixture
def tree(tmp_path):
    top = tmp_path / "tree"
    (top / "sub").mkdir(parents=True)
    (top / "all-bytes").write_bytes(bytes(range(256)) * 500)
    (top / "sub" / "script").write_text("#!/bin/sh\n")
    os.chmod(top / "sub" / "script", 0o750)
    os.utime(top / "sub" / "script", (1_500_000_000, 1_500_000_000))
    (top / "to-nowhere").symlink_to("/no/such/place")
    (top / "to-file").symlink_to("sub/script")
    (top / ("long " + 100 * "ä")).touch()
    os.chmod(top / "sub", 0o555)
    yield top
    os.chmod(top / "sub", 0o755)


def facts(top):
    found = {}
    for path in [top, *sorted(top.rglob("*"))]:
        what = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        status = path.lstat()
        times = 0 if path.is_symlink() or path.is_dir() else int(status.st_mtime)
        found[str(path.relative_to(top))] = (what, oct(status.st_mode), times)
    return found


def test_cp_directory_there_and_back(walt, home, tree, tools, tmp_path):
    done = walt("node", "cp", str(tree), "vnode1:")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert facts(home / "tree") == facts(tree)
    done = walt("node", "cp", "vnode1:tree", str(tmp_path / "back"))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert facts(tmp_path / "back") == facts(tree)
    # into a directory that is there; what else is in it stays
    os.chmod(home / "tree" / "sub", 0o755)
    (home / "tree" / "sub" / "mine").touch()
    for _ in range(2):
        assert walt("node", "cp", str(tree), "vnode1:tree/..").returncode == 0
    assert (home / "tree" / "sub" / "mine").exists()
    subprocess.run(["rm", "-rf", home / "tree", tmp_path / "back"], check=True)
    assert not list(home.glob(".walt*")) + list(tmp_path.glob(".walt*"))


def test_cp_files_and_names(walt, home, tree, tmp_path):
    data = tree / "all-bytes"
    assert walt("node", "cp", str(data), "vnode1:renamed").returncode == 0
    assert filecmp.cmp(home / "renamed", data, shallow=False)
    (home / "in to").mkdir()
    assert walt("node", "cp", str(data), str(tree / "to-file"), "vnode1:in to").returncode == 0
    assert {one.name for one in (home / "in to").iterdir()} == {"all-bytes", "to-file"}
    assert walt("node", "cp", "vnode1:in to/all-bytes", "vnode2:renamed", str(tmp_path)).returncode == 0
    assert filecmp.cmp(tmp_path / "renamed", data, shallow=False)
    assert filecmp.cmp(tmp_path / "all-bytes", data, shallow=False)
    (tmp_path / "link").symlink_to(tmp_path / "renamed")
    assert walt("node", "cp", f"vnode1:{home}/in to/all-bytes", str(tmp_path / "link")).returncode == 0
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("HERE/none", "vnode1:"), 3, "there is no file 'HERE/none' on this computer"),
        (("vnode1:/none", "HERE"), 3, "vnode1: there is no file '/none'"),
        (("vnode1:bin", "HERE/none/x"), 3, "there is no directory 'HERE/none' on this computer"),
        (("HERE/file", "vnode1:none/x"), 3, "vnode1: there is no directory 'none'"),
        (("HERE/file", "vnode1:none/"), 3, "vnode1: there is no directory 'none/'"),
        (("HERE/file", "HERE/file", "vnode1:kept"), 1, "vnode1: 'kept' is not a directory"),
        (("HERE", "vnode1:kept"), 1, "vnode1: 'kept' is not a directory; what is to be copied is one"),
        (("vnode1:bin", "HERE/file"), 1, "'HERE/file' is not a directory; what is to be copied is one"),
        (("vnode1:kept", "vnode1:kept", "HERE/file"), 1, "'HERE/file' is not a directory"),
        (("vnode1:kept", "/dev/null"), 1, "'/dev/null' is neither a file nor a directory"),
        (("HERE/file", "vnode1:/dev/null"), 1, "vnode1: '/dev/null' is neither a file nor a directory"),
        (("HERE/file", "HERE/other"), 2, "'HERE/file' and 'HERE/other' are both on this computer"),
        (("vnode1:a", "vnode2:b"), 2, "'vnode1:a' and 'vnode2:b' are both on nodes"),
        (("nobody:a", "HERE"), 3, "there is no node 'nobody'"),
    ],
)
def test_cp_refusals_are_sentences(walt, home, tmp_path, words, status, said):
    (home / "kept").write_text("kept")
    (tmp_path / "file").write_text("mine")
    done = walt("node", "cp", *(word.replace("HERE", str(tmp_path)) for word in words))
    assert f"walt: {said}".replace("HERE", str(tmp_path)) in done.stderr.decode()
    assert (done.returncode, done.stdout) == (status, b"")
    assert (home / "kept").read_text() == "kept"
    assert (tmp_path / "file").read_text() == "mine"
    assert not list(home.glob(".walt*")) + list(tmp_path.glob(".walt*"))


def test_cp_of_what_is_no_file_copies_the_rest_and_says_so(walt, home, tmp_path):
    odd = tmp_path / "odd"
    odd.mkdir()
    os.mkfifo(odd / "fifo")
    (odd / "file").touch()
    done = walt("node", "cp", str(odd), "vnode1:")
    assert done.returncode == 1
    assert done.stderr.decode() == f"walt: '{odd}/fifo' is neither file, directory nor link: it was left out\n"
    assert [one.name for one in (home / "odd").iterdir()] == ["file"]


def test_cp_of_50_mb_in_bounded_memory(walt, home, tmp_path):
    big = tmp_path / "big"
    with big.open("wb") as file:
        for _ in range(50):
            file.write(os.urandom(2**20))

    def bounded(*words):
        argv = ["prlimit", f"--as={120 * 2**20}", *walt.argv("node", "cp", *words)]
        return subprocess.run(argv, cwd=ROOT, env=walt.env, timeout=120)

    assert bounded(str(big), "vnode1:big").returncode == 0
    assert filecmp.cmp(home / "big", big, shallow=False)
    assert bounded("vnode1:big", str(tmp_path / "back")).returncode == 0
    assert filecmp.cmp(tmp_path / "back", big, shallow=False)
    (home / "big").unlink()


def test_cp_that_is_cut_off_leaves_nothing(walt, home, tmp_path):
    slow = home / "bin" / "tar"
    slow.write_text('#!/bin/sh\nPATH=/usr/bin:/bin\ntar "$@" | head -c 2000000\nsleep 60\n')
    os.chmod(slow, 0o755)
    (home / "half").write_bytes(os.urandom(3_000_000))
    try:
        copying = walt.start("node", "cp", "vnode1:half", str(tmp_path / "half"), stderr=subprocess.PIPE)
        wait_for(lambda: list(tmp_path.glob(".walt*")), 15)
        copying.send_signal(signal.SIGINT)
        assert copying.wait(15) == 130
    finally:
        slow.unlink()
        (home / "half").unlink()
    assert not (tmp_path / "half").exists()
    assert not list(tmp_path.glob(".walt*"))


# --- expose -------------------------------------------------------------------------------------------------


@pytest.fixture
def server():
    """On a port of the node: echoes all, says 'bye' at the end of input."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=200)
    open_now = set()

    def echo(near):
        with contextlib.suppress(OSError):
            while data := near.recv(65536):
                near.sendall(data)
            near.sendall(b"bye")
        near.close()
        open_now.discard(near)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                open_now.add(near)
                threading.Thread(target=echo, args=(near,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1], open_now
    listener.close()


@contextlib.contextmanager
def exposed(walt, node, port):
    process = walt.start("node", "expose", node, str(port), "0", stderr=subprocess.PIPE)
    try:
        said = read_until(process.stderr.fileno(), b"ctrl-c ends\n").decode()
        assert said.startswith(f"port {port} of {node} is at 127.0.0.1:")
        yield process, int(said.split("127.0.0.1:")[1].split(";")[0])
    finally:
        process.kill()
        process.wait()


def test_fault_36_expose_serves_many_connections_and_closes_all(walt, server):
    node_port, open_now = server
    with exposed(walt, "vnode1", node_port) as (process, port):
        clients = [socket.create_connection(("127.0.0.1", port), 15) for _ in range(20)]
        for number, one in enumerate(clients):
            one.sendall(b"hello %d" % number)
        for number, one in enumerate(clients):
            assert one.recv(100) == b"hello %d" % number
        assert len(open_now) == 20
        for one in clients[:10]:  # ends by itself, each direction alone
            one.shutdown(socket.SHUT_WR)
            assert one.recv(100) == b"bye"
            assert one.recv(100) == b""
            one.close()
        wait_for(lambda: len(open_now) == 10, 10)
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 130
        assert process.stderr.read() == b"walt: interrupted\n"
        wait_for(lambda: not open_now, 15)
        for one in clients[10:]:
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(100) == b""
            one.close()


def test_expose_passes_bulk_at_the_pace_of_the_reader(walt, server):
    data = os.urandom(5_000_000)
    with exposed(walt, "vnode1", server[0]) as (_, port):
        near = socket.create_connection(("127.0.0.1", port), 30)
        idle = socket.create_connection(("127.0.0.1", port), 30)

        def send():
            near.sendall(data)
            near.shutdown(socket.SHUT_WR)

        threading.Thread(target=send, daemon=True).start()
        time.sleep(1)  # nobody reads
        idle.sendall(b"still here")
        assert idle.recv(100) == b"still here"
        got = bytearray()
        while piece := near.recv(65536):
            got += piece
        assert bytes(got) == data + b"bye"


def test_expose_refusals(walt, bob, server):
    node_port, _ = server
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = walt("node", "expose", "vnode1", "80", str(port))
        assert done.returncode == 1
        assert done.stderr.decode() == f"walt: port {port} of 127.0.0.1 cannot be listened on: Address already in use\n"
        closed = socket.create_server(("127.0.0.1", 0))
        nobody = closed.getsockname()[1]
        closed.close()
        with exposed(walt, "vnode1", nobody) as (process, port), socket.create_connection(("127.0.0.1", port)) as one:
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(100) == b""
            read_until(process.stderr.fileno(), b"does not answer: Connection refused")
    with exposed(bob, "vnode1", node_port) as (process, port), socket.create_connection(("127.0.0.1", port)) as one:
        with contextlib.suppress(ConnectionResetError):
            assert one.recv(100) == b""
        assert process.wait(15) == 4


def test_expose_outlives_console(walt, console, server):
    with exposed(walt, "vnode1", server[0]) as (process, port):
        with socket.create_connection(("127.0.0.1", port), 15) as one:
            one.sendall(b"a")
            assert one.recv(10) == b"a"
            console.kill()
            console.start()
            one.settimeout(30)
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(10) == b""
        read_until(process.stderr.fileno(), b"a connection is lost")
        with socket.create_connection(("127.0.0.1", port), 15) as one:
            one.sendall(b"b")
            assert one.recv(10) == b"b"


def test_parallel_sessions_stay_below_the_limit_of_the_service():
    from cli.parallel import AT_ONCE

    assert AT_ONCE < contract.MAX_SESSIONS_PER_USER
