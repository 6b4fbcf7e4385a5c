"""Processes that work on images: how they end, what they unpack, and what they leave free for others."""

import io
import os
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from services.bootserver.image_kernel import kernel_image, module_reader
from services.bootserver.workers import disk_reserve, image_tar, merge, unpack, worker
from services.kit.subprocesses import stream
from walt.contracts.errors import Failed, InvalidRequest, NotFound

WORKER = """
import sys, time
from pathlib import Path
from services.bootserver.workers import disk_reserve, worker
from walt.contracts.errors import NotFound
{preparation}
def work():
    print("at work", flush=True)
    {work}
worker.worker_main(work, Path("/tmp"))
"""


@pytest.mark.parametrize(
    ("preparation", "work", "status", "stderr"),
    [
        ("", "pass", 0, ""),
        ("", "raise NotFound('no such thing')", 3, "no such thing"),
        ("", "raise OSError(28, 'No space left on device')", 1, "[Errno 28] No space left on device"),
        ("", "bytearray(2**40)", 1, "this takes more than 2 GiB of the server's memory"),
        ("disk_reserve.SPARE_BYTES = 2**70", "time.sleep(60)", 1, "the server's disk has no room for it"),
        ("disk_reserve.SPARE_FILES = 2**70", "time.sleep(60)", 1, "the server's disk has no room for it"),
    ],
)
def test_how_a_worker_ends(preparation, work, status, stderr):
    program = WORKER.format(preparation=preparation, work=work)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (status, "at work\n" if "SPARE" not in preparation else done.stdout)
    assert done.stderr.startswith(stderr) and "Traceback" not in done.stderr


def test_stderr_of_a_worker_becomes_an_error_of_its_class(tmp_path):
    output = []
    with pytest.raises(NotFound, match="there is no file 'none' in the image"):
        worker.run_worker("copy_out", tmp_path, "none", tmp_path / "tar", on_line=output.append, timeout=30)
    with pytest.raises(Failed, match="ValueError"):
        worker.run_worker("copy_out", tmp_path, on_line=output.append, timeout=30)
    with pytest.raises(Failed, match="it was killed: no end of it after 0.01 s"):
        worker.run_worker("copy_out", tmp_path, "none", tmp_path / "tar", on_line=output.append, timeout=0.01)


def test_some_of_the_disk_stays_free(tmp_path):
    disk_reserve.check(tmp_path)
    with pytest.raises(Failed, match="the server's disk has no room for it: 1 GiB of it stay free"):
        disk_reserve.check(tmp_path, 2**60)


# Tars of users


def make_tar(path, *members, form="w", **attributes):
    """members: (name, content, attributes)"""
    with tarfile.open(path, form, format=tarfile.GNU_FORMAT) as tar:
        for name, content, attributes in members:
            member = tarfile.TarInfo(name)
            member.uid, member.gid = os.getuid(), os.getgid()
            member.size = len(content)
            for attribute, value in attributes.items():
                setattr(member, attribute, value)
            tar.addfile(member, io.BytesIO(content))
    return path


def unpacked(folder, *members, form="w", names=("it",)):
    (folder / "unpacked").mkdir()
    unpack.unpack(make_tar(folder / "tar", *members, form=form), folder / "unpacked", names)
    return folder / "unpacked"


@pytest.mark.parametrize("form", ["w:gz", "w:xz"])
def test_compressed_tar_is_not_unpacked(tmp_path, form):
    with pytest.raises(InvalidRequest, match="cannot be unpacked"):
        unpacked(tmp_path, ("it", b"", {}), form=form)


def test_numbers_that_no_file_can_have_are_refused(tmp_path):
    with pytest.raises(InvalidRequest, match="cannot be unpacked"):
        unpacked(tmp_path, ("it", b"", {"uid": 2**40}))


def test_sparse_file_of_any_size_is_refused(tmp_path):
    with open(tmp_path / "it", "wb") as file:
        file.truncate(2**30)
    subprocess.run(["tar", "-cSf", tmp_path / "tar", "-C", tmp_path, "it"], check=True)
    assert (tmp_path / "tar").stat().st_size < 2**20
    (tmp_path / "unpacked").mkdir()
    with pytest.raises(InvalidRequest, match="cannot be unpacked"):
        unpack.unpack(tmp_path / "tar", tmp_path / "unpacked", ("it",))


@pytest.mark.parametrize("name", ["other", "it/../../other", "../other", "/other"])
def test_what_does_not_belong_in_a_tar_is_refused(tmp_path, name):
    with pytest.raises(InvalidRequest, match="holds 'other'|other: Member name contains"):
        unpacked(tmp_path, ("it", b"", {}), (name, b"x", {}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tar", "unpacked"]


def test_merge_replaces_files_and_writes_to_none(tmp_path):
    tree, image = tmp_path / "tree", tmp_path / "image"
    for path in ("old/kept", "old/replaced", "file"):
        (image / path).parent.mkdir(parents=True, exist_ok=True)
        (image / path).write_text("image")
    subprocess.run(["cp", "-al", image, tree], check=True)
    (tree / "old").chmod(0o711)
    new = unpacked(
        tmp_path,
        ("it", b"", {"type": tarfile.DIRTYPE, "mode": 0o755}),
        ("it/old", b"", {"type": tarfile.DIRTYPE, "mode": 0o700}),
        ("it/old/replaced", b"new", {"mode": 0o640}),
        ("it/file", b"", {"type": tarfile.DIRTYPE, "mode": 0o750}),
        ("it/file/inside", b"new", {}),
        ("it/left-out", b"new", {}),
    )
    merge.merge(new / "it", tree, lambda entry, target: entry.name != "left-out", keep_folders=True)
    assert (image / "old/replaced").read_text() == (image / "file").read_text() == "image"
    assert (tree / "old/replaced").read_text() == (tree / "file/inside").read_text() == "new"
    assert (tree / "old/kept").samefile(image / "old/kept") and not (tree / "left-out").exists()
    modes = {path: stat.S_IMODE((tree / path).stat().st_mode) for path in ("old", "old/replaced", "file")}
    assert modes == {"old": 0o711, "old/replaced": 0o640, "file": 0o750}


def test_merge_follows_no_link(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/way").symlink_to(tmp_path / "outside")
    new = unpacked(tmp_path, ("it", b"", {"type": tarfile.DIRTYPE, "mode": 0o755}), ("it/way/evil", b"x", {}))
    merge.merge(new / "it", tmp_path / "tree", lambda entry, target: True, keep_folders=True)
    assert list((tmp_path / "outside").iterdir()) == [] and (tmp_path / "tree/way/evil").exists()


# An image that is cloned while it is read


@pytest.fixture
def large_image(tmp_path):
    (tmp_path / "image").mkdir()
    (tmp_path / "image/file").write_bytes(os.urandom(4_000_000))
    return tmp_path / "image"


def test_clone_does_not_end_a_stream_of_the_image(large_image):
    pieces = stream(image_tar.argv(large_image), success=image_tar.SUCCESS)
    first = next(pieces)
    os.link(large_image / "file", large_image.parent / "clone")
    content = first + b"".join(pieces)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert tar.extractfile("./file").read() == (large_image / "file").read_bytes()


def test_stream_of_what_is_not_there_fails(tmp_path):
    with pytest.raises(Failed, match="status 2"):
        list(stream(image_tar.argv(tmp_path, "none"), success=image_tar.SUCCESS))


def test_clone_does_not_end_a_download(large_image, tmp_path):
    os.mkfifo(tmp_path / "tar")
    program = "import sys; from pathlib import Path; from services.bootserver.workers.copy_out import copy_out; "
    program += "copy_out(Path(sys.argv[1]), 'file', Path(sys.argv[2]))"
    with subprocess.Popen([sys.executable, "-c", program, large_image, tmp_path / "tar"]) as process:
        with open(tmp_path / "tar", "rb") as tar:
            tar.read(512)
            os.link(large_image / "file", tmp_path / "clone")
            while tar.read(2**16):
                pass
        assert process.wait(30) == 0


# What is read of an image


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
        module_reader.read(tmp_path, "6.1", ["ext4"])
    sparse(tmp_path / "boot/vmlinuz-6.1", 2**40)
    assert kernel_image.find(tmp_path) is None
    (kernel,) = kernel_image.all_of(tmp_path)
    assert kernel_image.fault(tmp_path, kernel) == "vmlinuz-6.1 is larger than 500 MB"


@pytest.mark.parametrize("suffix", ["", ".zst"])
def test_all_files_of_an_image_together_do_not_fill_memory(tmp_path, suffix):
    """As 67 links to one file that is small because it is compressed."""
    home = tmp_path / "lib/modules/6.1"
    sparse(home / "zeros", 60_000_000)
    if suffix:
        subprocess.run(["zstd", "-q", "--rm", home / "zeros", "-o", home / "zeros.zst"], check=True)
    names = [f"m{number}.ko{suffix}" for number in range(67)]
    for name in names:
        (home / name).symlink_to(f"zeros{suffix}")
    (home / "modules.dep").write_text(f"ext4.ko: {' '.join(names)}\n" + "".join(f"{name}:\n" for name in names))
    (home / "ext4.ko").touch()
    (home / "modules.builtin").touch()
    with pytest.raises(LookupError, match="the modules it needs are larger than 200 MB"):
        module_reader.read(tmp_path, "6.1", ["ext4"])
