"""Images of the Docker Engine: which of them can be a node's, and how faults of the engine are reported."""

from pathlib import Path

import pytest
from docker.errors import DockerException

from services.bootserver.docker_images import engine
from services.kit.docker import engine_errors
from walt.contracts.errors import Failed, InvalidRequest

LINUX = {"Os": "linux", "Architecture": "amd64"}


def refusal(image):
    try:
        engine.check_platform(image, "x")
    except InvalidRequest as error:
        return str(error)
    return ""


def labelled(**labels):
    return LINUX | {"Config": {"Labels": {name.replace("_", "."): value for name, value in labels.items()}}}


@pytest.mark.parametrize(
    "image",
    [
        LINUX,
        LINUX | {"Config": None},
        LINUX | {"Config": {"Labels": None}},
        labelled(walt_node_models="rpi-3-b,pc-x86-64"),
    ],
)
def test_images_for_nodes(image):
    assert refusal(image) == ""


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (labelled(walt_node_models="rpi-3-b"), "for nodes of model rpi-3-b; allowed: pc-x86-64"),
        (LINUX | {"Architecture": "arm64"}, "for linux/arm64; allowed: linux/amd64"),
        (LINUX | {"Os": "windows"}, "for windows/amd64; allowed: linux/amd64"),
    ],
)
def test_images_for_others(image, why):
    assert refusal(image) == f"image 'x' is {why}"


def test_absent_engine_is_named_with_what_works_without_it(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    message = "answers on the server .unix:///nowhere: No such file.*; allowed without one:"
    with pytest.raises(Failed, match=message), engine.engine("the build"):
        raise AssertionError("there is an engine")


def test_reason_of_a_fault_is_its_first_cause(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    with (
        pytest.raises(Failed, match="away: unix:///nowhere: No such file or directory"),
        engine_errors(away="away: {}"),
    ):
        try:
            Path("/nowhere").read_bytes()
        except OSError as first:
            raise DockerException("of one library") from first
    with pytest.raises(Failed, match="away: odd"), engine_errors(away="away: {}"):
        raise DockerException("odd")
