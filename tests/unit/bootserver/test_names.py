"""Names of images, here and in the Docker Engine."""

from __future__ import annotations

import pytest

from services.bootserver.docker_images import references
from services.bootserver.images import image_names
from walt.contracts.errors import Denied, InvalidRequest


@pytest.mark.parametrize(
    "reference",
    ["debian", "debian:bookworm-slim", "user/image", "registry.lab:5000/group/image:1.0", f"a/b@sha256:{'0' * 64}"],
)
def test_reference_of_the_engine(reference):
    references.check(reference)


@pytest.mark.parametrize("reference", ["", "-x", "no//image^", "Debian", "a b", "a:", "x" * 256])
def test_what_is_no_reference_is_refused(reference):
    with pytest.raises(InvalidRequest, match="IMAGE"):
        references.check(reference)


@pytest.mark.parametrize("text", ["debian", "a" * 63, "a.b_c-9", "alice/debian", "Bob_9/x"])
def test_name_is_written_as_it_was_read(text):
    assert str(image_names.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/a",
        "a/",
        ".",
        "..",
        "../a",
        "a/../b",
        "bob/../a",
        "a/b/c",
        "alice/..",
        "../../a",
        "9a",
        "A",
        "a" * 64,
        "a b",
        "a\n",
        "ä",
    ],  # fmt: skip
)
def test_what_is_no_name_is_refused(text):
    with pytest.raises(InvalidRequest, match="is not the name of an image"):
        image_names.parse(text)


def test_plain_name_is_ones_own_image_then_the_platforms():
    assert [str(one) for one in image_names.candidates("web", "alice")] == ["alice/web", "web"]
    assert [str(one) for one in image_names.candidates("web", "")] == ["web"]
    assert [str(one) for one in image_names.candidates("alice/web", "alice")] == ["alice/web"]
    assert str(image_names.new_name("web", "alice")) == str(image_names.new_name("alice/web", "alice")) == "alice/web"
    assert str(image_names.owned_name("default", "alice")) == "alice/default"
    for default in ("default", "alice/default"):
        with pytest.raises(InvalidRequest, match="default is the platform's image"):
            image_names.new_name(default, "alice")


@pytest.mark.parametrize("read_name", [image_names.candidates, image_names.new_name, image_names.owned_name])
def test_image_of_another_is_denied(read_name):
    with pytest.raises(Denied, match="image 'bob/web' would be bob's"):
        read_name("bob/web", "alice")


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("debian", "debian"),
        ("registry.lab:5000/group/Debian:bookworm", "debian-bookworm"),
        ("debian:latest", "debian"),
        (f"a/b@sha256:{'0' * 64}", "b"),
    ],
)
def test_name_of_what_comes_from_the_engine(reference, name):
    assert image_names.from_reference(reference) == name
