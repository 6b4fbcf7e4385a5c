"""Files of this computer as a tar stream."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from cli.transfer.pack import pack
from walt.contracts import file_attributes
from walt.contracts.bootserver import COMPLETE, CONTENT

CAP_NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")  # effective, permitted


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


def test_attributes_of_users_and_capabilities_are_packed(tmp_path, as_root):
    """As GNU tar has them; others are left out."""
    of_user = {"user.a=b%": b"\xff=\n\0 1"}
    of_file = {**of_user, file_attributes.CAPABILITY: CAP_NET_RAW}
    folder, file = tmp_path / "tree", tmp_path / "tree" / ("long " + 100 * "ä")
    folder.mkdir()
    file.write_text("text")
    for path, attributes in ((folder, of_user), (file, of_file)):
        for name, value in {**attributes, "trusted.overlay.opaque": b"y"}.items():
            os.setxattr(path, name, value)
    buffer = io.BytesIO()
    pack(str(folder), buffer)
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as tar:
        top, inside, _ = tar
    assert [file_attributes.of_tar(one.pax_headers) for one in (top, inside)] == [of_user, of_file]
    assert inside.name == f"content/{file.name}"
    argv = ["tar", "-x", *file_attributes.TAR_OPTIONS, "-C", str(tmp_path), "-f", "-"]
    subprocess.run(argv, input=buffer.getvalue(), check=True)
    back = tmp_path / "content" / file.name
    assert {name: os.getxattr(back, name) for name in os.listxattr(back)} == of_file


@pytest.mark.parametrize("size", [*range(70, 110), *range(960, 1010)])
def test_a_record_counts_its_own_length(size):
    record = file_attributes.tar_records({"user.x": bytes(size)})
    assert int(record.split()[0]) == len(record)


@pytest.mark.parametrize("path", ["/proc/version", "/proc/self/mounts", "/sys/class/net/lo/address"])
def test_what_has_no_size_is_read_to_its_end(path):
    """Fault B7: the kernel's files have a size of 0, or of a page."""
    sink = io.BytesIO()
    assert pack(path, sink) == []
    sink.seek(0)
    with tarfile.open(fileobj=sink) as tar:
        assert tar.extractfile(CONTENT).read() == Path(path).read_bytes()
        assert tar.getnames() == [CONTENT, COMPLETE]
