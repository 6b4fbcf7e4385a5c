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
        [TOP, member("./l", tarfile.SYMTYPE, "/tmp"), member("./l/evil", tarfile.SYMTYPE, "x")],
        [TOP, member("../evil", tarfile.SYMTYPE, "x")],
        [TOP, member("../evil", tarfile.DIRTYPE)],
        [TOP, member("./h", tarfile.LNKTYPE, "../secret"), member("./h", data=b"overwritten")],
    ],
)
def test_nothing_leaves_the_folder(stage, members):
    (stage.parent / "secret").write_bytes(b"secret")
    with pytest.raises((Failed, OSError)):
        unpack(archive(*members), str(stage))
    assert sorted(os.listdir(stage.parent)) == ["secret", "stage"]
    assert (stage.parent / "secret").read_bytes() == b"secret"
    assert not os.path.lexists("/tmp/evil")


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
    came = unpack(
        archive(member(".", tarfile.DIRTYPE, mode=0o777), member("./new", tarfile.DIRTYPE, mode=0o511)), str(stage)
    )
    came.settle(str(target))
    assert target.stat().st_mode & 0o777 == 0o700
    assert (target / "new").stat().st_mode & 0o777 == 0o511


def test_file_and_directory_do_not_replace_each_other(stage, tmp_path):
    target = tmp_path / "target"
    (target / "file").mkdir(parents=True)
    came = unpack(archive(TOP, member("./file", data=b"x")), str(stage))
    with pytest.raises(Failed, match=r"target/file' is a directory; what is to be copied is not"):
        came.settle(str(target))


def test_what_is_packed_ends_with_its_mark(tmp_path):
    (tmp_path / "file").write_bytes(b"data")
    os.mkfifo(tmp_path / "fifo")
    sink = io.BytesIO()
    assert pack(str(tmp_path), sink) == [str(tmp_path / "fifo")]
    sink.seek(0)
    with tarfile.open(fileobj=sink) as tar:
        assert tar.getnames() == [CONTENT, f"{CONTENT}/file", COMPLETE]
        assert {one.uid for one in tar} == {0}
