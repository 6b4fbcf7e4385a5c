"""`walt image import` and `build` by a real Docker Engine."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from services.bootserver.app import image_sources
from services.bootserver.docker_images.protocol import socket_path
from services.kit.environment import environment
from tests.compose import engine
from tests.service.images.world import tree_of
from tests.support.image_tree import VERSION
from tests.support.wait import wait_until
from walt.contracts.errors import Denied


@contextlib.contextmanager
def docker_images(run_folder, **variables):
    """The process that has the engine's socket."""
    argv = [sys.executable, "-m", "services.bootserver.docker_images"]
    process = subprocess.Popen(argv, env={**os.environ, "WALT_RUN_DIR": str(run_folder), **variables})
    try:
        wait_until(socket_path(run_folder).exists, 10, "it listens")
        yield
    finally:
        process.kill()
        process.wait()
        socket_path(run_folder).unlink()


@pytest.fixture
def docker(require, monkeypatch, platform):
    found, why = engine.find()
    require("docker", not why, why)
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    with docker_images(platform / "run"):
        yield from has_debian(require)


def has_debian(require):
    done = subprocess.run(["docker", "image", "inspect", "debian:bookworm-slim"], capture_output=True, text=True)
    require("docker", done.returncode == 0, done.stderr)
    yield


def is_in_engine(image):
    return subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode == 0


def test_image_of_the_docker_engine(walt, platform, docker, tmp_path):
    status, _, err = walt("image import debian:bookworm-slim")
    assert status == 0 and "brings no kernel" in err, err
    tree = tree_of(platform, "debian-bookworm-slim")
    assert (tree / "etc/debian_version").exists() and (tree / f"lib/modules/{VERSION}").exists()
    assert not (tree / ".dockerenv").exists()
    status, _, err = walt("image import no-such-image.invalid/x:y")
    assert status == 3 and "'no-such-image.invalid/x:y'" in err, err
    steps = ("FROM debian:bookworm-slim", "COPY hell* /etc/", "RUN ls /sys/class/net > /etc/built")
    (tmp_path / "Dockerfile").write_text("\n".join(steps))
    (tmp_path / "hello").write_text("hello\n")
    (tmp_path / "hell-secret").write_text("secret\n")
    (tmp_path / ".dockerignore").write_text("*-secret\n")
    status, _, err = walt(f"image build {tmp_path} built")
    assert status == 0, err
    assert [(tree_of(platform, "built") / f"etc/{one}").read_text() for one in ("hello", "built")] == [
        "hello\n",
        "lo\n",
    ]
    assert not (tree_of(platform, "built") / "etc/hell-secret").exists()
    (tmp_path / "Dockerfile").write_text("FROM debian:bookworm-slim\nRUN touch /one\nRUN echo so it goes; exit 3\n")
    status, _, err = walt(f"image build {tmp_path} failed")
    assert status == 2 and "so it goes" in err and "returned a non-zero code: 3" in err, err
    left = subprocess.run(["docker", "ps", "-aq", "--filter", "label=walt.temporary"], capture_output=True, text=True)
    assert left.stdout == ""
    layers = re.findall("---> ([0-9a-f]{12})", err)
    assert len(layers) > 1 and [layer for layer in layers if is_in_engine(layer)] == layers[:1]


def test_fault_s19_nothing_is_taken_from_docker_by_default():
    sources = image_sources(replace(environment(), variables={}))
    with pytest.raises(Denied):
        sources.check_reference("debian")
    with pytest.raises(Denied):
        sources.check_build()
    with pytest.raises(SystemExit, match="WALT_IMAGE_SOURCES=All: allowed: none, or a list"):
        image_sources(replace(environment(), variables={"WALT_IMAGE_SOURCES": "All"}))


def test_what_the_operator_does_not_allow_is_refused_before_any_work(walt):
    status, _, err = walt("image import another/debian")
    assert status == 5 and "allowed: names that begin with library, no-such-image.invalid or a FILE.tar" in err


def test_without_an_engine_docker_is_refused_and_the_rest_is_named(walt, platform):
    status, _, err = walt("image import debian:bookworm-slim")
    assert status == 1 and "the process that has the Docker Engine does not answer" in err and "FILE.tar" in err
    with docker_images(platform / "run", DOCKER_HOST="unix:///nowhere/docker.sock"):
        status, _, err = walt("image import debian:bookworm-slim")
    assert status == 1 and "answers on the server (unix:///nowhere/docker.sock: No such file or directory)" in err
    assert "FILE.tar" in err
