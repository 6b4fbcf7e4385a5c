"""Processes that work on images: their ends, and the disk that they leave to others."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from services.bootserver import helpers, kernels, members, modules, space
from services.contracts.errors import Failed, InvalidRequest, NotFound

HELPER = """
import sys, time
from pathlib import Path
from services.bootserver import helpers, space
from services.contracts.errors import NotFound
{preparation}
def work():
    print("at work", flush=True)
    {work}
helpers.main(work, Path("/tmp"))
"""


@pytest.mark.parametrize(
    ("preparation", "work", "status", "said"),
    [
        ("", "pass", 0, ""),
        ("", "raise NotFound('no such thing')", 3, "no such thing"),
        ("", "raise OSError(28, 'No space left on device')", 1, "[Errno 28] No space left on device"),
        ("", "bytearray(2**40)", 1, "this takes more than 2 GiB of the server's memory"),
        ("space.SPARE_BYTES = 2**70", "time.sleep(60)", 1, "the server's disk has no room for it"),
        ("space.SPARE_FILES = 2**70", "time.sleep(60)", 1, "the server's disk has no room for it"),
    ],
)
def test_ends_of_a_helper(preparation, work, status, said):
    program = HELPER.format(preparation=preparation, work=work)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (status, "at work\n" if "SPARE" not in preparation else done.stdout)
    assert done.stderr.startswith(said) and "Traceback" not in done.stderr


def test_what_a_helper_says_becomes_an_error_of_its_kind(tmp_path):
    said = []
    with pytest.raises(NotFound, match="there is no file 'none' in the image"):
        helpers.helper("taking", tmp_path, "none", tmp_path / "tar", say=said.append, timeout=30)
    with pytest.raises(Failed, match="ValueError"):
        helpers.helper("taking", tmp_path, say=said.append, timeout=30)
    with pytest.raises(Failed, match="it was killed: no end of it after 0.01 s"):
        helpers.helper("taking", tmp_path, "none", tmp_path / "tar", say=said.append, timeout=0.01)


def test_some_of_the_disk_stays_free(tmp_path):
    space.check(tmp_path)
    with pytest.raises(Failed, match="the server's disk has no room for it: 1 GiB of it stay free"):
        space.check(tmp_path, 2**60)


@pytest.mark.parametrize("form", ["w:gz", "w:xz"])
def test_tar_of_another_machine_is_not_unpacked_by_the_way(tmp_path, form):
    with tarfile.open(tmp_path / "bomb", form) as tar:
        tar.addfile(tarfile.TarInfo("it"))
    with pytest.raises(InvalidRequest, match="no tar that can be read"), members.opened(tmp_path / "bomb") as tar:
        tar.getnames()


def test_numbers_that_no_file_can_have_are_refused(tmp_path):
    member = tarfile.TarInfo("it")
    member.uid = 2**40
    with tarfile.open(tmp_path / "odd", "w", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(member)
    with pytest.raises(InvalidRequest, match="no tar that can be read"), members.opened(tmp_path / "odd") as tar:
        members.put(tmp_path / "it", tar, tar.next())


def sparse(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.truncate(size)


def test_no_file_of_an_image_fills_memory(tmp_path):
    home = tmp_path / "lib/modules/6.1"
    sparse(home / "ext4.ko", 2**40)
    (home / "modules.dep").write_text("ext4.ko:\n")
    (home / "modules.builtin").touch()
    with pytest.raises(LookupError, match="ext4.ko is larger than 100 MB"):
        modules.read(tmp_path, "6.1", ["ext4"])
    sparse(tmp_path / "boot/vmlinuz-6.1", 2**40)
    assert kernels.find(tmp_path) is None
    (kernel,) = kernels.all_of(tmp_path)
    assert kernels.fault(tmp_path, kernel) == "vmlinuz-6.1 is larger than 500 MB"
