"""What comes from a node is never trusted: nothing is written outside the destination, whatever the archive says."""

import io
import os
import tarfile
import tracemalloc

import pytest

from cli.transfer import tar_stream, unpack
from cli.transfer.unpack import Destination
from walt.contracts.errors import Failed


def member(name, kind=tarfile.REGTYPE, link="", data=b"", mode=0o644):
    one = tarfile.TarInfo(name)
    one.type, one.linkname, one.size, one.mode = kind, link, len(data), mode
    return one, io.BytesIO(data)


def archive(*members):
    stream = io.BytesIO()
    with tarfile.open(mode="w|", fileobj=stream, format=tarfile.GNU_FORMAT) as tar:
        for one, data in members:
            data.seek(0)
            tar.addfile(one, data)
    stream.seek(0)
    return stream


@pytest.fixture
def stage(tmp_path):
    (tmp_path / "stage").mkdir()
    return tmp_path / "stage"


def unpack_to(folder, stream):
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return unpack.unpack(stream, descriptor)
    finally:
        os.close(descriptor)


def copy(target, *members, name=""):
    """As `walt node cp` has it: `target` is a directory, `name` what is made in it."""
    with Destination(str(target), name) as destination:
        left_out = destination.receive(archive(*members))
        destination.settle()
    return left_out


def contents(top):
    """Every path below it, with what it is."""
    return {
        str(path.relative_to(top)): os.readlink(path) if path.is_symlink() else path.is_file() and path.read_bytes()
        for path in top.rglob("*")
    }


TOP = member(".", tarfile.DIRTYPE, mode=0o755)
DIRECTORY, SYMLINK, HARDLINK = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


@pytest.mark.parametrize(
    "members",
    [
        [TOP, member("../evil", data=b"x")],
        [TOP, member("./a/../../evil", data=b"x")],
        [TOP, member("./l", SYMLINK, ".."), member("./l/evil", data=b"x")],
        [TOP, member("./l", SYMLINK, "OUTSIDE"), member("./l/evil", SYMLINK, "x")],
        [TOP, member("../evil", SYMLINK, "x")],
        [TOP, member("../evil", DIRECTORY)],
        [TOP, member("./h", HARDLINK, "../secret"), member("./h", data=b"overwritten")],
        [TOP, member("./h", HARDLINK, "OUTSIDE/secret"), member("./h", data=b"overwritten")],
        [TOP, member("./d", DIRECTORY), member("./h", HARDLINK, "d")],
        [TOP, member("./h", HARDLINK, "not-there")],
        [TOP, member("./l", SYMLINK, "../secret"), member("./l/x", HARDLINK, "l")],
        [member(".", data=b"x")],
    ],
)
def test_nothing_leaves_the_folder(stage, members):
    (stage.parent / "secret").write_bytes(b"secret")
    for one, _ in members:
        one.linkname = one.linkname.replace("OUTSIDE", str(stage.parent))
    with pytest.raises((Failed, OSError)):
        unpack_to(stage, archive(*members))
    assert sorted(os.listdir(stage.parent)) == ["secret", "stage"]
    assert (stage.parent / "secret").read_bytes() == b"secret"


def test_fault_s3_hard_link_to_a_symlink_touches_nothing_outside(stage):
    """A later file of the same name, or its permissions, would go through the link."""
    outside = stage.parent / "outside"
    outside.mkdir(mode=0o700)
    links = [member("./s", SYMLINK, str(outside)), member("./h", HARDLINK, "s", mode=0o777)]
    copy(stage, TOP, *links, member("./new", SYMLINK, str(outside / "new")), member("./n", HARDLINK, "new"))
    new = str(outside / "new")
    assert contents(stage) == {"s": str(outside), "h": str(outside), "new": new, "n": new}
    assert outside.stat().st_mode & 0o777 == 0o700
    assert list(outside.iterdir()) == []


def test_fault_s3_second_copy_follows_no_link_that_the_first_has_brought(stage):
    outside = stage.parent / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"mine")
    copy(stage, TOP, member("./sub", SYMLINK, str(outside)), member("./log", SYMLINK, str(outside / "file")))
    with pytest.raises(Failed, match="sub' is not a directory"):
        copy(stage, TOP, member("./sub", DIRECTORY), member("./sub/evil", data=b"x"))
    with pytest.raises(Failed, match="log' is a link that leads out of"):
        copy(stage, TOP, member("./log", data=b"x"))
    with pytest.raises(Failed, match="sub' is not a directory"):  # two sources of one command: cp v1:a v1:b/sub .
        copy(stage, TOP, member("./evil", data=b"x"), name="sub")
    assert contents(outside) == {"file": b"mine"}


def test_links_into_the_destination_through_a_link_out_of_it_are_refused(stage):
    outside = stage.parent / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"mine")
    (stage / "out").symlink_to(outside)
    (stage / "log").symlink_to("out/file")
    with pytest.raises(Failed, match="leads out of"):
        copy(stage, member("./log", data=b"x"), name="log")
    assert (outside / "file").read_bytes() == b"mine"


def test_a_second_file_of_a_name_is_not_written_into_the_first(stage):
    unpack_to(stage, archive(TOP, member("./a", data=b"1"), member("./b", HARDLINK, "a"), member("./b", data=b"2")))
    assert contents(stage) == {"a": b"1", "b": b"2"}


def test_hard_links_stay_hard_links(stage):
    unpack_to(
        stage, archive(TOP, member("./d", DIRECTORY), member("./d/a", data=b"1"), member("./b", HARDLINK, "./d/a"))
    )
    assert (stage / "b").samefile(stage / "d/a")


def test_absolute_name_is_refused(stage):
    with pytest.raises(Failed, match="/etc/walt-evil"):
        unpack_to(stage, archive(TOP, member("/etc/walt-evil", data=b"x")))


@pytest.mark.parametrize("mtime", [-1, 2**70, float("nan")])
def test_odd_times_are_no_reason_to_fail(stage, mtime):
    late = tarfile.TarInfo("late")
    late.pax_headers = {"mtime": str(mtime)}
    stream = io.BytesIO()
    with tarfile.open(mode="w|", fileobj=stream, format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(late)
    stream.seek(0)
    unpack_to(stage, stream)
    assert (stage / "late").exists()


def test_only_attributes_of_users_arrive(tmp_path):
    """A program of a node gets no capabilities here."""
    headers = {
        "SCHILY.xattr.user.a%3Db": "\udcff",
        "SCHILY.xattr.security.capability": "x",
        "SCHILY.xattr.trusted.x": "x",
    }
    stream = io.BytesIO()
    with tarfile.open(mode="w|", fileobj=stream, format=tarfile.PAX_FORMAT) as tar:
        for one, data in (member("./d", DIRECTORY, mode=0o500), member("./d/file", data=b"x", mode=0o400)):
            one.pax_headers = headers
            tar.addfile(one, data)
    stream.seek(0)
    with Destination(str(tmp_path), "copy") as destination:
        destination.receive(stream)
        destination.settle()
    for path in (tmp_path / "copy", tmp_path / "copy/file"):
        assert {name: os.getxattr(path, name) for name in os.listxattr(path)} == {"user.a=b": b"\xff"}


def test_devices_are_left_out_and_special_bits_dropped(stage):
    came = unpack_to(stage, archive(TOP, member("./tty", tarfile.CHRTYPE), member("./su", data=b"x", mode=0o4755)))
    assert came.left_out == ["./tty"]
    assert [one.name for one in stage.iterdir()] == ["su"]
    assert (stage / "su").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize("length", [0, 100, 2000])  # between two members only the exit status tells
def test_truncated_stream_is_a_failure(stage, length):
    whole = archive(TOP, member("./file", data=b"x" * 5000)).getvalue()
    with pytest.raises(Failed, match="the archive cannot be unpacked"):
        unpack_to(stage, io.BytesIO(whole[:length]))


def test_what_fails_leaves_nothing(stage):
    with pytest.raises(Failed), Destination(str(stage)) as destination:
        destination.receive(archive(TOP, member("./file", data=b"x"), member("../evil", data=b"x")))
    assert contents(stage) == {}


def test_what_cannot_be_written_is_a_sentence(stage):
    with pytest.raises(Failed, match="stage/x' cannot be written: File name too long"):
        copy(stage, TOP, member(f"./{'n' * 300}", data=b"x"), name="x")
    with pytest.raises(Failed, match="none/x' cannot be written: No such file or directory"):
        copy(stage / "none", TOP, name="x")


def test_permissions_of_directories_that_were_there_stay(tmp_path):
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    new, late = member("./new", DIRECTORY, mode=0o511), member("./new/file", data=b"x")
    new[0].mtime = late[0].mtime = 1_000_000_000
    copy(target, member(".", DIRECTORY, mode=0o777), new, late)
    assert {one.stat().st_mtime for one in (target / "new", target / "new/file")} == {1_000_000_000}
    assert target.stat().st_mode & 0o777 == 0o700
    assert (target / "new").stat().st_mode & 0o777 == 0o511
    copy(tmp_path, member(".", DIRECTORY, mode=0o751), new, late, name="whole")
    assert (tmp_path / "whole").stat().st_mode & 0o777 == 0o751


def test_file_and_directory_do_not_replace_each_other(tmp_path):
    target = tmp_path / "target"
    (target / "file").mkdir(parents=True)
    (target / "folder").write_bytes(b"mine")
    os.mkfifo(target / "fifo")
    for one, said in (
        (member("./file", data=b"x"), "file' is a directory; what is to be copied is not"),
        (member("./folder", DIRECTORY), "folder' is not a directory; what is to be copied is one"),
        (member("./fifo", data=b"x"), "fifo' is neither a file nor a directory"),
    ):
        with pytest.raises(Failed, match=f"target/{said}"):
            copy(target, one, name=one[0].name[2:])
    assert (target / "file").is_dir() and (target / "folder").read_bytes() == b"mine" and (target / "fifo").is_fifo()
    with pytest.raises(Failed, match="target' is a directory; what is to be copied is not"):
        copy(target, member("./file", data=b"x"))  # a node that sends a file where its directory was requested
    assert sorted(os.listdir(target)) == ["fifo", "file", "folder"]


def test_a_file_is_written_through_a_link_and_a_link_takes_a_files_place(tmp_path):
    target = tmp_path / "target"
    (target / "sub").mkdir(parents=True)
    (target / "file").write_bytes(b"old")
    (target / "sub" / "deep").write_bytes(b"old")
    (target / "link").symlink_to("file")
    (target / "far").symlink_to(target / "sub" / "deep")
    (target / "nowhere").symlink_to("none")
    (target / "other").write_bytes(b"old")
    files = (member(f"./{name}", data=b"new") for name in ("link", "far", "nowhere"))
    copy(target, TOP, *files, member("./other", SYMLINK, "nowhere"))
    assert os.readlink(target / "link") == "file" and (target / "file").read_bytes() == b"new"
    assert os.readlink(target / "far") and (target / "sub" / "deep").read_bytes() == b"new"
    assert not (target / "nowhere").is_symlink()
    assert os.readlink(target / "other") == "nowhere"


def test_depth_has_a_limit(stage):
    deep = "/".join("d" * unpack.MAX_DEPTH)
    copy(stage, TOP, member(deep, DIRECTORY), name="deep")
    copy(stage, TOP, member(deep, DIRECTORY), name="deep")
    with pytest.raises(Failed, match="is too deep; allowed: at most 256"):
        copy(stage, TOP, member(f"{deep}/d", DIRECTORY), name="deeper")
    assert os.listdir(stage) == ["deep"]


class Endless(io.RawIOBase):
    """A stream that begins so, and goes on."""

    def __init__(self, begin, piece, size):
        self.begin, self.piece, self.left = begin, piece, size

    def read(self, size=-1):
        if self.begin:
            found, self.begin = self.begin[:size], self.begin[size:]
            return found
        self.left -= len(self.piece)
        return self.piece[:size] if self.left > 0 else b""


def header(kind, size, name="./a"):
    one = tarfile.TarInfo(name)
    one.type, one.size = kind, size
    return one.tobuf(tarfile.GNU_FORMAT)


def extended_header(records):
    return header(tarfile.XHDTYPE, len(records)) + records.ljust(-(-len(records) // 512) * 512, b"\0")


SPARSE = extended_header(b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n25 GNU.sparse.realsize=1\n")


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (header(tarfile.GNUTYPE_LONGNAME, 10**12), b"a" * 65_536),
        (header(tarfile.GNUTYPE_LONGLINK, 10**12), b"a" * 65_536),
        (header(tarfile.XHDTYPE, 10**12), b"a" * 65_536),
        (header(tarfile.XGLTYPE, 10**12), b"a" * 65_536),
        (SPARSE + header(tarfile.REGTYPE, 10**12) + b"9" * 400 + b"\n", b"1\n" * 32_768),
        (b"", header(tarfile.GNUTYPE_LONGNAME, 4) + b"abc\0".ljust(512, b"\0")),
        (b"", extended_header(b"12 path=abc\n")),
        (SPARSE + header(tarfile.REGTYPE, 1024), b"1" * 512),
    ],
)
def test_no_entry_takes_memory_or_breaks_more_than_its_copy(stage, begin, piece, monkeypatch):
    """A node may claim a name of a terabyte, and send it."""
    monkeypatch.setattr(tar_stream, "MAX_HEADER_BYTES", 2**18)
    tracemalloc.start()
    with pytest.raises(Failed, match="the archive (cannot be unpacked|has an entry with more than)"):
        unpack_to(stage, Endless(begin, piece, 50_000_000))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 20_000_000


def test_many_entries_take_little_memory(stage):
    stream = io.BytesIO(header(tarfile.FIFOTYPE, 0) * 5000 + bytes(1024))
    tracemalloc.start()
    unpack_to(stage, stream)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 2_000_000
