"""The platform's lines in files of a node that have lines of its user too, in images and at boot."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from services.bootserver import platform_block
from services.bootserver.image_kernel import initrd
from services.bootserver.images.store import WALT_INIT
from services.bootserver.platform_block import HOSTS, KEYS, RESOLVER, block

FORMER_HOSTS = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n192.168.172.2 a\n192.168.172.1 server\n"


@pytest.mark.parametrize(
    ("path", "text", "in_image"),
    [
        (HOSTS, "before\n" + block("1\n") + "after\n", "before\n" + block("") + "after\n"),
        (HOSTS, block("1\n") + "mine\n" + block("2\n"), block("") + "mine\n"),
        (RESOLVER, block("search walt\n") + "nameserver ::1\n", block("") + "nameserver ::1\n"),
        (RESOLVER, "nameserver 127.0.0.53\n", None),
        (HOSTS, "10.0.0.1 mine\n", "10.0.0.1 mine\n"),
        (HOSTS, "# walt: begin\n10.0.0.1 mine", "10.0.0.1 mine"),
        (HOSTS, "# walt: end\nmine\n", "# walt: end\nmine\n"),
        (HOSTS, "# walt: begin\nmine\n" + block("1\n"), "mine\n" + block("")),
        (HOSTS, FORMER_HOSTS + "10.0.0.1 mine\n", "10.0.0.1 mine\n"),
        (KEYS, "ssh-ed25519 AAAA walt\nssh-ed25519 BBBB me\n", "ssh-ed25519 BBBB me\n"),
        (KEYS, "", ""),
    ],
)
def test_an_image_has_the_lines_of_the_user_only(path, text, in_image):
    assert platform_block.emptied(path, text) == in_image


@pytest.mark.parametrize(
    ("file", "merged"),
    [
        ("", "NEW"),
        ("mine\n", "NEWmine\n"),
        ("no end of line", "NEWno end of line\n"),
        ("a\nOLDb\n", "a\nNEWb\n"),
        ("a\nNEWb\n", "a\nNEWb\n"),
        ("a\nOLDb\nOLDc\n", "a\nNEWb\nc\n"),
        ("a\nEMPTYb\n", "a\nNEWb\n"),
        ("# walt: begin\nthe same\nmine\n", "NEWmine\n"),
        ("# walt: begin\nmine\nOLDb\n", "mine\nNEWb\n"),
        ("the same\nmine\n\n", "NEWmine\n\n"),  # of a version without blocks
    ],
)
def test_fault_b6_lines_of_the_user_stay_at_a_boot(tmp_path, file, merged):
    """By the lines of walt-init, in the shell that it has."""
    blocks = {"NEW": block("the same\nnew\n"), "OLD": block("the same\nold\n"), "EMPTY": block("")}

    def filled(text):
        return re.sub("NEW|OLD|EMPTY", lambda match: blocks[match[0]], text)

    (tmp_path / "block").write_text(blocks["NEW"])
    (tmp_path / "file").write_text(filled(file))
    function = re.search(r"^merge_lines\(\) \{.*?^\}", Path(WALT_INIT).read_text(), re.MULTILINE | re.DOTALL)[0]
    script = f'awk() {{ busybox awk "$@"; }}\n{function}\nmerge_lines block file'
    done = subprocess.run(["busybox", "sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == filled(merged)


def test_walt_init_knows_the_files_and_has_the_programs():
    text = Path(WALT_INIT).read_text()
    assert f"for file in {' '.join(platform_block.FILES)}; do" in text
    assert text.count(platform_block.MARK) == 2 and f'"{platform_block.END}"' in text
    assert {"awk", "cp", "grep", "cat", "mv", "rm", "tar"} <= set(initrd.APPLETS)
