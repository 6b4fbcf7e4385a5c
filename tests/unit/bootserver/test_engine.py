"""Images of the Docker Engine: which are none for us, and why the engine is away."""

from pathlib import Path

import pytest

from services.bootserver import engine
from services.contracts.errors import InvalidRequest

LINUX = {"Os": "linux", "Architecture": "amd64"}


@pytest.mark.parametrize(
    "image",
    [LINUX, LINUX | {"Config": None}, LINUX | {"Config": {"Labels": None}},
     LINUX | {"Config": {"Labels": {"walt.node.models": "rpi-3-b,pc-x86-64"}}}],
)  # fmt: skip
def test_images_for_nodes(image):
    engine._check(image, "x")


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (
            LINUX | {"Config": {"Labels": {"walt.node.models": "rpi-3-b"}}},
            "for nodes of model rpi-3-b; allowed: pc-x86-64",
        ),
        (LINUX | {"Architecture": "arm64"}, "for linux/arm64; allowed: linux/amd64"),
        (LINUX | {"Os": "windows"}, "for windows/amd64"),
    ],
)
def test_images_for_others(image, why):
    with pytest.raises(InvalidRequest, match=f"image 'x' is {why}"):
        engine._check(image, "x")


def test_reason_is_the_first_cause(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    try:
        try:
            Path("/nowhere").read_bytes()
        except OSError as first:
            raise RuntimeError("of one library") from first
    except RuntimeError as second:
        assert engine._reason(second) == "unix:///nowhere: No such file or directory"
    assert engine._reason(RuntimeError("odd")) == "odd"
