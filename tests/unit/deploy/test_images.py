"""Sources come from this host's apt, only Debian's and only of our suite; a recipe's folder names the image."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deploy.images import builder, recipes

TARGETS = """\
Debian bookworm http://mirror.example/debian/ main
Debian bookworm-security http://mirror.example/security/ main
Debian bookworm http://mirror.example/debian/ contrib
Debian trixie http://mirror.example/debian/ main
Other bookworm http://other.example/ main
Debian bookworm http://mirror.example/debian/ main
"""


def test_sources():
    assert recipes.debian_sources(TARGETS) == [
        "deb http://mirror.example/debian/ bookworm main",
        "deb http://mirror.example/security/ bookworm-security main",
    ]
    assert recipes.debian_sources("") == []


def test_way_to_the_mirror():
    proxy = 'Acquire::http::Proxy "http://proxy.example:3128"'
    dump = f'Acquire "";\n{proxy};\nAcquire::http "";\nAcquire::cdrom::mount "/x/";\n'
    assert recipes.host_options(dump) == [proxy]


def test_the_recipes():
    assert recipes.names() == ["debian", "debian-full", "small"]
    debian, full = recipes.load("debian"), recipes.load("debian-full")
    assert set(full.packages) ^ set(debian.packages) == {"linux-image-amd64", "linux-image-cloud-amd64"}
    assert (full.folder / "customize").read_text() == (debian.folder / "customize").read_text()
    assert {"systemd-sysv", "openssh-server", "iproute2", "iputils-ping", "python3"} <= set(debian.packages)
    argv = recipes.command(debian, Path("/t"), ["deb http://mirror.example/ bookworm main"], [])
    assert argv[0] == "mmdebstrap" and argv[-3:] == ["bookworm", "/t", "deb http://mirror.example/ bookworm main"]


def test_another_recipe_is_another_image(tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "FOLDER", tmp_path)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/packages").write_text("extract\nbusybox-static\n")
    first = recipes.load("tiny").image
    assert recipes.load("tiny").image == first
    (tmp_path / "tiny/customize").write_text("#!/bin/sh\n")
    assert recipes.load("tiny").image != first
    assert first.startswith("tiny-")


def test_what_a_builder_has_mounted_and_started_ends_with_it(require, tmp_path):
    require("netns", bool(builder.argv_in_own_namespaces()), "no namespaces may be made here")
    script = f"mount -t tmpfs tmpfs {tmp_path}; sleep 60 & echo begun; wait"
    with subprocess.Popen(
        [*builder.argv_in_own_namespaces(), "sh", "-c", script], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "begun\n"
        process.kill()
        assert process.stdout.read() == ""  # no process has it open any more
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
