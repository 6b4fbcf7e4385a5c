"""What comes from a node is never trusted: nothing is written outside the folder, whatever the archive says."""

import io
import os
import tarfile

import pytest

from cli.archive import pack, unpack
from services.contracts.bootserver import COMPLETE, CONTENT
from services.contracts.errors import Failed


def member(name, kind=tarfile.REGTYPE, link="", data=b"", mode=0o644):
    one = tarfile.TarInfo(name)
    one.type, one.linkname, one.size, one.mode = kind, link, len(data), mode
    return one, io.BytesIO(data)


def archive(*members):
    stream = io.BytesIO()
    with tarfile.open(mode="w|", fileobj=stream, format=tarfile.GNU_FORMAT) as tar:
        for one, data in members:
            tar.addfile(one, data)
    stream.seek(0)
    return stream


@pytest.fixture
def stage(tmp_path):
    (tmp_path / "stage").mkdir()
    return tmp_path / "stage"


TOP = member(".", tarfile.DIRTYPE, mode=0o755)


@pytest.mark.parametrize(
    "members",
    [
        [TOP, member("../evil", data=b"x")],
        [TOP, member("./a/../../evil", data=b"x")],
        [TOP, member("./l", tarfile.SYMTYPE, ".."), member("./l/evil", data=b"x")],
        [TOP, member("./l", tarfile.SYMTYPE, "OUTSIDE"), member("./l/evil", tarfile.SYMTYPE, "x")],
        [TOP, member("../evil", tarfile.SYMTYPE, "x")],
        [TOP, member("../evil", tarfile.DIRTYPE)],
        [TOP, member("./h", tarfile.LNKTYPE, "../secret"), member("./h", data=b"overwritten")],
    ],
)
def test_nothing_leaves_the_folder(stage, members):
    (stage.parent / "secret").write_bytes(b"secret")
    for one, _ in members:
        one.linkname = one.linkname.replace("OUTSIDE", str(stage.parent))
    with pytest.raises((Failed, OSError)):
        unpack(archive(*members), str(stage))
    assert sorted(os.listdir(stage.parent)) == ["secret", "stage"]
    assert (stage.parent / "secret").read_bytes() == b"secret"


def test_absolute_name_is_refused(stage):
    with pytest.raises(Failed, match="/etc/walt-evil"):
        unpack(archive(TOP, member("/etc/walt-evil", data=b"x")), str(stage))


def test_devices_are_left_out_and_special_bits_dropped(stage):
    came = unpack(archive(TOP, member("./tty", tarfile.CHRTYPE), member("./su", data=b"x", mode=0o4755)), str(stage))
    assert came.left_out == ["./tty"]
    assert [one.name for one in stage.iterdir()] == ["su"]
    assert (stage / "su").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize("length", [0, 100, 2000])  # between two members only the exit status tells
def test_truncated_stream_is_a_failure(stage, length):
    whole = archive(TOP, member("./file", data=b"x" * 5000)).getvalue()
    with pytest.raises(Failed, match="what came is not to be unpacked"):
        unpack(io.BytesIO(whole[:length]), str(stage))


def test_permissions_of_directories_that_were_there_stay(stage, tmp_path):
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    new, late = member("./new", tarfile.DIRTYPE, mode=0o511), member("./new/file", data=b"x")
    new[0].mtime = late[0].mtime = 1_000_000_000
    unpack(archive(member(".", tarfile.DIRTYPE, mode=0o777), new, late), str(stage)).settle(str(target))
    assert {one.stat().st_mtime for one in (target / "new", target / "new/file")} == {1_000_000_000}
    assert target.stat().st_mode & 0o777 == 0o700
    assert (target / "new").stat().st_mode & 0o777 == 0o511


def test_file_and_directory_do_not_replace_each_other(stage, tmp_path):
    target = tmp_path / "target"
    (target / "file").mkdir(parents=True)
    (target / "folder").write_bytes(b"mine")
    os.mkfifo(target / "fifo")
    for one, said in (
        (member("./file", data=b"x"), "file' is a directory; what is to be copied is not"),
        (member("./folder", tarfile.DIRTYPE), "folder' is not a directory; what is to be copied is one"),
        (member("./fifo", data=b"x"), "fifo' is neither a file nor a directory"),
    ):
        came = unpack(archive(one), str(stage))
        assert came.root == str(stage / one[0].name[2:])
        with pytest.raises(Failed, match=f"target/{said}"):
            came.settle(str(target / one[0].name[2:]))
    assert (target / "file").is_dir() and (target / "folder").read_bytes() == b"mine" and (target / "fifo").is_fifo()


def test_a_file_is_written_through_a_link_and_a_link_takes_a_files_place(stage, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (target / "file").write_bytes(b"old")
    (target / "link").symlink_to("file")
    (target / "other").write_bytes(b"old")
    came = archive(TOP, member("./link", data=b"new"), member("./other", tarfile.SYMTYPE, "nowhere"))
    unpack(came, str(stage)).settle(str(target))
    assert os.readlink(target / "link") == "file" and (target / "file").read_bytes() == b"new"
    assert os.readlink(target / "other") == "nowhere"


def test_what_is_packed_ends_with_its_mark(tmp_path):
    (tmp_path / "file").write_bytes(b"data")
    os.chown(tmp_path / "file", *((7, 7) if os.geteuid() == 0 else (-1, -1)))
    os.mkfifo(tmp_path / "fifo")
    sink = io.BytesIO()
    assert pack(str(tmp_path), sink) == [str(tmp_path / "fifo")]
    sink.seek(0)
    with tarfile.open(fileobj=sink) as tar:
        assert tar.getnames() == [CONTENT, f"{CONTENT}/file", COMPLETE]
        assert {(one.uid, one.gid, one.uname, one.gname) for one in tar if one.name != COMPLETE} == {
            (0, 0, "root", "root")
        }
