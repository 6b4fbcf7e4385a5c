"""Paths in another system's root, versions of kernels, modules as distributions pack them."""

import gzip
import lzma
import subprocess
import time

import pytest

from services.bootserver.image_kernel import chroot_paths, initrd, kernel_image, module_reader, wished_modules
from services.bootserver.images import image_names
from walt.contracts.errors import Failed


@pytest.fixture
def tree(tmp_path):
    tree = tmp_path / "tree"
    (tree / "usr/lib").mkdir(parents=True)
    (tree / "usr/lib/file").write_text("inside")
    (tmp_path / "file").write_text("outside")
    return tree


@pytest.mark.parametrize(
    ("link", "target", "path", "resolved"),
    [
        ("lib", "usr/lib", "lib/file", "usr/lib/file"),
        ("lib", "/usr/lib", "/lib/file", "usr/lib/file"),
        ("up", "..", "up/file", "file"),
        ("up", "../../../../usr", "up/lib/file", "usr/lib/file"),
        ("x", "/lib/none", "x/y", "lib/none/y"),
        ("x", "y", "../../usr/../x", "y"),
    ],
)
def test_links_lead_where_they_would_in_a_chroot(tree, link, target, path, resolved):
    (tree / link).symlink_to(target)
    assert chroot_paths.resolve(tree, path) == tree / resolved


def test_only_files_inside_are_found(tree):
    (tree / "out").symlink_to(tree.parent / "file")
    (tree / "loop").symlink_to("loop")
    assert chroot_paths.find_file(tree, "out") is None
    assert chroot_paths.find_file(tree, "usr/lib") is None
    assert chroot_paths.find_file(tree, "usr/lib/file") == tree / "usr/lib/file"
    with pytest.raises(Failed, match="more than 40 symbolic links"):
        chroot_paths.resolve(tree, "loop/x")


def test_no_path_and_no_folder_of_an_image_takes_long(tree):
    """39 links, each a path of 800 parts, and 60 kernels at their end: each request of a node looked through them."""
    (tree / "a").mkdir()
    for number in range(39):
        (tree / f"l{number}").symlink_to("a/../" * 400 + f"l{number + 1}")
    with pytest.raises(Failed, match="'l0': more than 400 parts, with those of the symbolic links on its way"):
        chroot_paths.resolve(tree, "l0")
    (tree / "boot").mkdir()
    for number in range(chroot_paths.MAX_NAMES + 5):
        (tree / f"boot/vmlinuz-{number}").touch()
    assert len(chroot_paths.names(tree, "boot")) == chroot_paths.MAX_NAMES
    assert len(kernel_image.all_of(tree)) == kernel_image.MAX_KERNELS
    assert chroot_paths.names(tree, "none") == chroot_paths.names(tree, "usr/lib/file") == []


def test_version_is_in_the_kernel_whatever_its_file_is_called():
    header = b"\0" * 0x202 + b"HdrS" + b"\0" * 8 + (0x100).to_bytes(2, "little")
    assert kernel_image.version_in(header.ljust(0x300, b"\0") + b"6.6.7-0-virt (who@where) #1\0") == "6.6.7-0-virt"
    assert kernel_image.version_in(b"\x7fELF".ljust(0x400, b"\0")) == ""
    assert kernel_image.version_in(b"") == ""


def add_kernel(tree, version, modules=1):
    (tree / "boot").mkdir(exist_ok=True)
    (tree / f"boot/vmlinuz-{version}").write_bytes(version.encode())
    (tree / f"lib/modules/{version}").mkdir(parents=True)
    (tree / f"lib/modules/{version}/modules.dep").write_text("".join(f"{number}.ko:\n" for number in range(modules)))


def booted(tree):
    kernel = kernel_image.find(tree)
    return kernel and kernel.version


def test_newest_kernel_boots_by_the_order_of_versions(tree):
    assert booted(tree) is None
    for version in ("6.9.12-cloud-amd64", "6.10.3-amd64", "6.10-zen"):
        add_kernel(tree, version)
    assert booted(tree) == "6.10.3-amd64"
    (tree / "boot/vmlinuz-7.0").write_bytes(b"without modules")
    assert booted(tree) == "6.10.3-amd64"


def test_headers_of_a_few_kernels_are_read_however_many_there_are(tree):
    add_kernel(tree, "6.500-newest")
    for number in range(200):
        (tree / f"boot/vmlinuz-6.{number}").touch()
    assert len(kernel_image.all_of(tree)) == kernel_image.MAX_KERNELS and booted(tree) == "6.500-newest"


def test_of_two_flavours_of_a_kernel_the_richer_boots(tree):
    add_kernel(tree, "6.1.0-56-cloud-amd64", modules=100)
    add_kernel(tree, "6.1.0-56-amd64", modules=900)
    assert booted(tree) == "6.1.0-56-amd64"


@pytest.mark.parametrize(("link", "target"), [("vmlinuz", "boot/vmlinuz-6.1-a"), ("boot/vmlinuz", "vmlinuz-6.1-a")])
def test_kernel_that_the_images_link_names_boots(tree, link, target):
    add_kernel(tree, "6.1-a")
    add_kernel(tree, "6.10-b", modules=9)
    (tree / link).symlink_to(target)
    assert booted(tree) == "6.1-a"
    (tree / "lib/modules/6.1-a/modules.dep").unlink()
    assert booted(tree) == "6.10-b"


def test_lent_kernel_boots_only_where_no_own_one_can(tree):
    add_kernel(tree, "6.10-lent")
    add_kernel(tree, "5.1-own")
    add_kernel(tree, "5.2-unusable", modules=9)
    (tree / "usr/lib/walt").mkdir()
    (tree / "usr/lib/walt/kernel").write_text("6.10-lent 5.2-unusable")
    assert booted(tree) == "5.1-own"
    (tree / "boot/vmlinuz-5.1-own").unlink()
    assert booted(tree) == "6.10-lent"


def test_compressed_modules_are_unpacked(tree):
    home = tree / "lib/modules/6.1"
    home.mkdir(parents=True)
    home.joinpath("modules.builtin").write_text("kernel/fs/overlayfs/overlay.ko\n")
    home.joinpath("modules.dep").write_text("a.ko.gz: b.ko.xz c.ko.zst\nb.ko.xz:\nc.ko.zst:\n")
    home.joinpath("a.ko.gz").write_bytes(gzip.compress(b"a"))
    home.joinpath("b.ko.xz").write_bytes(lzma.compress(b"b"))
    home.joinpath("c.ko.zst").write_bytes(subprocess.run(["zstd"], input=b"c", stdout=-1, check=True).stdout)
    wanted, files = module_reader.read(tree, "6.1", ["a", "overlay"])
    assert files == {"a.ko": b"a", "b.ko": b"b", "c.ko": b"c"}
    assert wanted.lines == ("b.ko:", "c.ko:", "a.ko: b.ko c.ko")
    assert initrd.contents("6.1", wanted, files, b"", b"")
    home.joinpath("b.ko.xz").write_bytes(b"not xz")
    with pytest.raises(LookupError, match="b.ko.xz cannot be unpacked"):
        module_reader.read(tree, "6.1", ["a"])


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
    assert image_names.from_reference(reference) == name


def test_what_a_kernel_lacks_of_what_is_often_wished_for(tree, monkeypatch):
    monkeypatch.setattr(wished_modules, "WISHED", ("vcan", "8021q", "ppp_generic", "batman_adv", "hsr"))
    add_kernel(tree, "6.1")
    home = tree / "lib/modules/6.1"
    lines = ("kernel/net/batman-adv/batman-adv.ko.xz: kernel/lib/hsr.ko", "kernel/net/8021q/8021q.ko:")
    (home / "modules.dep").write_text("\n".join(lines))
    (home / "modules.builtin").write_text("kernel/drivers/net/ppp/ppp_generic.ko\n")
    assert wished_modules.lacking(tree, "6.1") == ("vcan", "hsr")
    assert wished_modules.lacking(tree, "6.2") == wished_modules.WISHED


@pytest.mark.parametrize("text", [b"\n", b"/tu.ko\n/8021q.k\n/", b"a/", b":", b"/tun"])
def test_an_index_of_any_text_is_searched_at_once(tree, text):
    """20 MB of line ends took a minute of the service's only thread."""
    add_kernel(tree, "6.1")
    (tree / "lib/modules/6.1/modules.dep").write_bytes(text * (20_000_000 // len(text)))
    begin = time.process_time()
    assert wished_modules.lacking(tree, "6.1") == wished_modules.WISHED
    assert time.process_time() - begin < 2
