"""`walt node cp`, with GNU tar and busybox on the node."""

import filecmp
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.service.cli.command import ROOT
from tests.support.wait import wait_until

pytestmark = pytest.mark.usefixtures("as_root")  # files are given to the user of the machines


@pytest.fixture(params=["gnu", "busybox"])
def tools(request, home):
    """What the node has in its PATH."""
    names = ("sh", "tar", "cp", "mktemp", "mv", "rm", "readlink", "dirname", "basename")
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


CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # CAP_NET_RAW


def test_attributes_of_users_go_both_ways_and_capabilities_to_the_node(walt, home, tools, tmp_path):
    """busybox has none, and the files all the same."""
    is_gnu = not (home / "bin" / "tar").exists()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_text("text")
    for path in (tmp_path / "tree", tmp_path / "tree/file"):
        os.setxattr(path, "user.note", b"\xff\n=\0")
    os.setxattr(tmp_path / "tree/file", "security.capability", CAPABILITY)
    done = walt("node", "cp", str(tmp_path / "tree"), "vnode1:")
    assert (done.returncode, done.stderr) == (0, b"")
    assert (home / "tree/file").read_text() == "text"
    both = ["security.capability", "user.note"]
    assert sorted(os.listxattr(home / "tree/file")) == (both if is_gnu else [])
    done = walt("node", "cp", "vnode1:tree", str(tmp_path / "back"))
    assert (done.returncode, done.stderr) == (0, b"")
    for name in ("back", "back/file"):
        found = {key: os.getxattr(tmp_path / name, key) for key in os.listxattr(tmp_path / name)}
        assert found == ({"user.note": b"\xff\n=\0"} if is_gnu else {})
    subprocess.run(["rm", "-rf", home / "tree"], check=True)


def test_fault_b7_the_kernels_files_are_read_to_their_end(walt, home, tools, tmp_path):
    """They have a size of 0, or of a page."""
    for path in ("/proc/version", "/sys/class/net/lo/address"):
        assert walt("node", "cp", f"vnode1:{path}", str(tmp_path)).stderr == b""
        assert (tmp_path / os.path.basename(path)).read_bytes() == Path(path).read_bytes()
    done = walt("node", "cp", "vnode1:/proc/sys/net/unix", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, b"")
    length = Path("/proc/sys/net/unix/max_dgram_qlen").read_bytes()
    assert (tmp_path / "unix" / "max_dgram_qlen").read_bytes() == length
    assert walt("node", "cp", "/proc/version", "vnode1:version").returncode == 0
    assert (home / "version").read_bytes() == Path("/proc/version").read_bytes()


def test_fault_b46_what_does_not_fit_is_refused_at_once(walt, home, tools, tmp_path):
    small = home / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "small", small], check=True)
    try:
        (tmp_path / "big").mkdir()
        (tmp_path / "big" / "file").write_bytes(bytes(3 * 2**20))
        done = walt("node", "cp", str(tmp_path / "big"), "vnode1:small")
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"vnode1: what is to be copied takes 3072 KiB; free in 'small': 1024 KiB" in done.stderr
        assert list(small.iterdir()) == []
        (tmp_path / "fits").write_bytes(bytes(2**19))
        assert walt("node", "cp", str(tmp_path / "fits"), "vnode1:small").returncode == 0
    finally:
        subprocess.run(["umount", small], check=True)
        small.rmdir()


def test_fault_b19_holes_of_a_file_of_a_node_are_neither_sent_nor_written(walt, home, tmp_path):
    with open(home / "holes", "wb") as file:
        file.seek(5 * 2**30)
        file.write(b"data")
        file.truncate(10 * 2**30)
    try:
        assert walt("node", "cp", "vnode1:holes", str(tmp_path / "back")).returncode == 0
    finally:
        (home / "holes").unlink()
    status = (tmp_path / "back").stat()
    assert status.st_size == 10 * 2**30 and status.st_blocks * 512 < 2**20
    with open(tmp_path / "back", "rb") as file:
        file.seek(5 * 2**30)
        assert file.read(8) == b"data\0\0\0\0"


def test_fault_s3_a_second_copy_writes_nothing_outside(walt, home, tmp_path):
    """The first brings links, the second what would be written through them."""
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    target.mkdir()
    (home / "evil").mkdir()
    (home / "evil" / "sub").symlink_to(outside)
    assert walt("node", "cp", "vnode1:evil", str(target)).returncode == 0
    (home / "evil" / "sub").unlink()
    (home / "evil" / "sub").mkdir()
    (home / "evil" / "sub" / "file").touch()
    refused = walt("node", "cp", "vnode1:evil", str(target))
    assert refused.returncode == 1 and b"target/evil/sub' is not a directory" in refused.stderr
    refused = walt("node", "cp", "vnode1:evil/sub", str(target / "evil" / "sub"))
    assert refused.returncode == 1 and b"is a link; allowed: '" in refused.stderr
    assert list(outside.iterdir()) == []
    assert walt("node", "cp", "vnode1:evil/sub", f"{target}/evil/sub/").returncode == 0  # as the message allows
    assert (outside / "sub" / "file").exists()
    subprocess.run(["rm", "-rf", home / "evil"], check=True)


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
        (("nobody:a", "HERE"), 3, "no node 'nobody'"),
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
    assert done.stderr.decode() == f"walt: '{odd}/fifo' is neither a file, directory nor link: it was left out\n"
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
        wait_until(lambda: list(tmp_path.glob(".walt*")), 15)
        copying.send_signal(signal.SIGINT)
        assert copying.wait(15) == 130
    finally:
        slow.unlink()
        (home / "half").unlink()
    assert not (tmp_path / "half").exists()
    assert not list(tmp_path.glob(".walt*"))
