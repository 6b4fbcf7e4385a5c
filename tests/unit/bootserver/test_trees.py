"""Paths in another system's root, versions of kernels, modules as distributions pack them."""

import gzip
import lzma
import subprocess

import pytest

from services.bootserver import initrd, kernels, modules, names, rooted
from services.contracts.errors import Failed


@pytest.fixture
def tree(tmp_path):
    tree = tmp_path / "tree"
    (tree / "usr/lib").mkdir(parents=True)
    (tree / "usr/lib/file").write_text("inside")
    (tmp_path / "file").write_text("outside")
    return tree


@pytest.mark.parametrize(
    ("link", "target", "asked", "place"),
    [
        ("lib", "usr/lib", "lib/file", "usr/lib/file"),
        ("lib", "/usr/lib", "/lib/file", "usr/lib/file"),
        ("up", "..", "up/file", "file"),
        ("up", "../../../../usr", "up/lib/file", "usr/lib/file"),
        ("x", "/lib/none", "x/y", "lib/none/y"),
        ("x", "y", "../../usr/../x", "y"),
    ],
)
def test_links_lead_where_they_would_in_there(tree, link, target, asked, place):
    (tree / link).symlink_to(target)
    assert rooted.resolve(tree, asked) == tree / place


def test_only_files_inside_are_found(tree):
    (tree / "out").symlink_to(tree.parent / "file")
    (tree / "loop").symlink_to("loop")
    assert rooted.find_file(tree, "out") is None
    assert rooted.find_file(tree, "usr/lib") is None
    assert rooted.find_file(tree, "usr/lib/file") == tree / "usr/lib/file"
    with pytest.raises(Failed, match="more than 40 symbolic links"):
        rooted.resolve(tree, "loop/x")


def test_version_is_in_the_kernel_whatever_its_file_is_called():
    header = b"\0" * 0x202 + b"HdrS" + b"\0" * 8 + (0x100).to_bytes(2, "little")
    assert kernels.version_in(header.ljust(0x300, b"\0") + b"6.6.7-0-virt (who@where) #1\0") == "6.6.7-0-virt"
    assert kernels.version_in(b"\x7fELF".ljust(0x400, b"\0")) == ""
    assert kernels.version_in(b"") == ""


def test_compressed_modules_are_unpacked(tree):
    home = tree / "lib/modules/6.1"
    home.mkdir(parents=True)
    home.joinpath("modules.builtin").write_text("kernel/fs/overlayfs/overlay.ko\n")
    home.joinpath("modules.dep").write_text("a.ko.gz: b.ko.xz c.ko.zst\nb.ko.xz:\nc.ko.zst:\n")
    home.joinpath("a.ko.gz").write_bytes(gzip.compress(b"a"))
    home.joinpath("b.ko.xz").write_bytes(lzma.compress(b"b"))
    home.joinpath("c.ko.zst").write_bytes(subprocess.run(["zstd"], input=b"c", stdout=-1, check=True).stdout)
    wanted, files = modules.read(tree, "6.1", ["a", "overlay"])
    assert files == {"a.ko": b"a", "b.ko": b"b", "c.ko": b"c"}
    assert wanted.lines == ("b.ko:", "c.ko:", "a.ko: b.ko c.ko")
    assert initrd.contents("6.1", wanted, files, b"", b"")
    home.joinpath("b.ko.xz").write_bytes(b"not xz")
    with pytest.raises(LookupError, match="b.ko.xz cannot be unpacked"):
        modules.read(tree, "6.1", ["a"])


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("debian:bookworm-slim", "debian-bookworm-slim"),
        ("alpine", "alpine"),
        ("registry.example.org:5000/group/Tool:latest", "tool"),
        ("tool@sha256:0123", "tool"),
        ("a/b:1+2", "b-1-2"),
    ],
)
def test_name_of_an_image_of_the_engine(reference, name):
    assert names.from_reference(reference) == name
