"""A system made of one program becomes an image and boots; it is changed from outside and from inside."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.bootserver.image_kernel import kernel_image, wished_modules


@pytest.fixture(scope="module")
def tiny(walt, tmp_path_factory):
    """busybox, and nothing else: no kernel, no init, no shell, no /etc."""
    root = tmp_path_factory.mktemp("root")
    (root / "bin").mkdir()
    shutil.copy("/bin/busybox", root / "bin/tool")
    import_output = walt("image", "import", str(root), "tiny").stderr
    assert "brings no kernel: it boots with the platform's" in import_output
    assert "the platform's minimal init" in import_output
    yield "tiny"
    walt("image", "remove", "tiny", "--force")


@pytest.fixture
def node(walt, tiny):
    walt("node", "create", "bare", "--image", tiny, "-c", "boot.delay=0", "-c", "cpu.cores=1", "--wait", timeout=180)
    yield "bare"
    walt("node", "remove", "bare", "--force")


def test_image_without_a_kernel_boots_and_shows_it(walt, node, tmp_path):
    log = walt("node", "console", node, "--log").stdout
    assert "The image brings no kernel: this one is the platform's" in log
    assert "this image has no init: the platform's minimal one is used" in log
    assert walt("node", "run", node, "--", "hostname && ip -o addr show ens2").stdout.startswith("bare\n")
    (tmp_path / "hello").write_text("hello\n")
    walt("node", "cp", str(tmp_path / "hello"), f"{node}:/etc/hello")
    output = walt("image", "cp", str(tmp_path / "hello"), "tiny:/etc/").stderr
    assert "bare use the former image until: walt node reboot bare" in output
    refused = walt("image", "remove", "tiny", "--force", check=False)
    assert refused.status == 4 and "is used by bare" in refused.stderr


def test_shell_in_an_image_changes_it_and_leaves_no_node(walt, tiny, tmp_path):
    walt("image", "shell", "tiny", "--save", stdin="echo from inside > /etc/inside\n", timeout=180)
    walt("image", "cp", "tiny:/etc/inside", str(tmp_path / "inside"))
    assert (tmp_path / "inside").read_text() == "from inside\n"
    assert walt("node", "show", "-o", "csv").stdout.count("shell-") == 0
    refused = walt("image", "shell", "default", "--save", check=False)
    assert refused.status == 5 and "walt image shell default NEW_IMAGE" in refused.stderr


def test_images_of_the_platform_tell_what_their_kernels_lack(walt):
    images = {one["name"]: one for one in json.loads(walt("image", "show", "-o", "json").stdout)}
    assert "cloud" in images["full"]["kernel"] and {"vcan", "batman_adv", "hsr"} <= set(images["full"]["lacks"])
    assert "wireguard" not in images["full"]["lacks"]
    assert "the operator of the platform can offer the image debian-full" in walt("image", "show").stderr


def test_fault_b23_debians_full_kernel_has_them(capable):
    """All but hsr, which Debian 12 does not build. The first time the image is built."""
    made = subprocess.run([sys.executable, "-m", "deploy.images", "debian-full"], stdout=subprocess.PIPE, check=True)
    tree = Path(made.stdout.decode().strip())
    kernel = kernel_image.find(tree)
    assert kernel and "cloud" not in kernel.version
    assert wished_modules.lacking(tree, kernel.version) == ("hsr",)
