"""Files of this computer as a tar stream."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from cli.transfer.pack import pack
from walt.contracts.bootserver import COMPLETE, CONTENT


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


@pytest.mark.parametrize("path", ["/proc/version", "/proc/self/mounts", "/sys/class/net/lo/address"])
def test_what_has_no_size_is_read_to_its_end(path):
    """Fault B7: the kernel's files have a size of 0, or of a page."""
    sink = io.BytesIO()
    assert pack(path, sink) == []
    sink.seek(0)
    with tarfile.open(fileobj=sink) as tar:
        assert tar.extractfile(CONTENT).read() == Path(path).read_bytes()
        assert tar.getnames() == [CONTENT, COMPLETE]
